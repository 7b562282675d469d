//! Decoding of text files in the encodings that tools on different systems write.

use std::borrow::Cow;

/// Decodes a text file as UTF-8, or as UTF-16 if it has such a byte-order mark, as PowerShell writes it.
///
/// The byte-order mark is removed. Returns `None` if the text is neither.
pub fn decoded(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.as_chunks().0.iter().map(|pair| unit(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.ok().map(Cow::Owned)
    };
    match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        [0xff, 0xfe, text @ ..] => wide(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => wide(text, u16::from_be_bytes),
        text => std::str::from_utf8(text).ok().map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_is_removed() {
        let text = "a\u{e9}\n\u{1f41f}";
        let [little, big]: [fn(u16) -> [u8; 2]; 2] = [u16::to_le_bytes, u16::to_be_bytes];
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
        };
        let files =
            [text.as_bytes().to_vec(), format!("\u{feff}{text}").into_bytes(), wide(little), wide(big)];
        for file in files {
            assert_eq!(decoded(&file).as_deref(), Some(text), "{file:?}");
        }
        assert_eq!(decoded(b"\xff\xfe\x00\xd8"), None);
        assert_eq!(decoded(b"caf\xe9"), None);
    }
}
