//! Finds empty NAL units in an H.264 or H.265 byte stream (Annex B of either specification).

/// Number of bytes before and after a piece that callers of [`empty_units`] pass where they exist: the length of
/// a start code.
pub(crate) const CONTEXT: usize = 3;

/// Returns the positions in `piece` of the last byte of each start code that is directly followed by another
/// start code.
///
/// If the caller sets that byte to 0, the start code becomes zero bytes, which are allowed before any start code.
/// `before` and `after` are the bytes around the piece, so that start codes across its ends are found.
pub(crate) fn empty_units(before: &[u8], piece: &[u8], after: &[u8]) -> Vec<usize> {
    let (mut zeros, mut start, mut found) = (0usize, None, Vec::new());
    for (at, byte) in before.iter().chain(piece).chain(after).enumerate() {
        match byte {
            0 => zeros += 1,
            1 if zeros >= 2 => {
                found.extend(start);
                (start, zeros) = (Some(at), 0);
            }
            _ => (start, zeros) = (None, 0),
        }
    }
    let places = found.into_iter().filter_map(|at| at.checked_sub(before.len()));
    places.filter(|at| *at < piece.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: [u8; 15] = [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0, 0, 1, 0x68, 7];

    #[test]
    fn finds_empty_units_before_a_start_code() {
        assert_eq!(empty_units(&[], &STREAM, &[]), [9]);
        assert_eq!(empty_units(&[], &[0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0x65], &[]), [2, 5]);
    }

    #[test]
    fn units_with_content_are_not_empty() {
        let stream = [0, 0, 0, 1, 0x67, 0, 0, 2, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 1, 0, 0];
        assert!(empty_units(&[], &stream, &[]).is_empty());
    }

    #[test]
    fn a_start_code_across_two_buffers_is_found_once() {
        for cut in 0..=STREAM.len() {
            let (first, second) = STREAM.split_at(cut);
            let mut found = empty_units(&[], first, &second[..CONTEXT.min(second.len())]);
            let before = &first[cut.saturating_sub(CONTEXT)..];
            found.extend(empty_units(before, second, &[]).iter().map(|at| at + cut));
            assert_eq!(found, [9], "cut at {cut}");
        }
    }
}
