//! Reads the size and orientation from the first bytes of an image or a coded frame.

use lookout_schema::Size;

use crate::orientation::Orientation;

/// The properties that an image states before its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) size: Option<Size>,
    /// None if the image states no orientation.
    pub(crate) orientation: Option<Orientation>,
}

const JPEG: &[u8] = &[0xff, 0xd8];

/// Returns whether an image starts with these bytes. The first few bytes are sufficient.
pub(crate) fn starts_image(bytes: &[u8]) -> bool {
    bytes.starts_with(JPEG) || imagesize::image_type(bytes).is_ok()
}

/// Returns the header of the JPEG, PNG or WebP image that starts with `bytes`, or None if there are too few bytes.
pub(crate) fn header(bytes: &[u8]) -> Option<Header> {
    if bytes.starts_with(JPEG) {
        return jpeg(bytes);
    }
    let size = imagesize::blob_size(bytes).ok()?;
    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
    Some(Header {
        size: Some(Size { width: side(size.width), height: side(size.height) }),
        orientation: None,
    })
}

/// Parses the segments of a JPEG image (ITU-T T.81, annex B) up to the frame header, which states its size.
fn jpeg(bytes: &[u8]) -> Option<Header> {
    // A JPEG without EXIF data is displayed as stored, even if the previous image of its stream was turned.
    let mut orientation = Some(Orientation::default());
    let mut at = JPEG.len();
    loop {
        let [0xff, marker] = *bytes.get(at..at + 2)? else {
            // Decoders skip bytes between segments.
            at += 1;
            continue;
        };
        if matches!(marker, 0xff | 0x00 | 0x01 | 0xd0..=0xd8) {
            at += if marker == 0xff { 1 } else { 2 };
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
        let segment = bytes.get(at + 4..at + 2 + length.max(2));
        match marker {
            // A frame header: any SOF. The codes of DHT, JPG and DAC lie in the same range.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let [_, a, b, c, d] = *bytes.get(at + 4..at + 9)? else { return None };
                let (height, width) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                let size = Some(Size { width: width.into(), height: height.into() });
                return Some(Header { size, orientation });
            }
            // A scan, or the end of the image, before any frame header. Decoders reject such images.
            0xda | 0xd9 => return Some(Header { size: None, orientation }),
            0xe1 => {
                if let Some(exif) = segment?.strip_prefix(b"Exif\0\0")
                    && let Some(stated) = exif_orientation(exif)
                {
                    orientation = Some(stated);
                }
            }
            _ => {}
        }
        at += 2 + length.max(2);
    }
}

fn exif_orientation(exif: &[u8]) -> Option<Orientation> {
    let exif = exif::Reader::new().read_raw(exif.to_vec()).ok()?;
    let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
    Orientation::from_exif(field.value.get_uint(0)?)
}

/// Returns the size in the header of a VP8 key frame (RFC 6386, section 9.1), or None for other frames.
pub(crate) fn vp8_size(frame: &[u8]) -> Option<Size> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] = *frame else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    (tag & 1 == 0).then(|| Size { width: side(a, b), height: side(c, d) })
}

/// Returns the size in Theora's identification header (Theora specification, section 6.2).
///
/// The header states it in macroblocks of 16 pixels.
pub(crate) fn theora_size(packet: &[u8]) -> Option<Size> {
    let [width_high, width_low, height_high, height_low, ..] =
        *packet.strip_prefix(b"\x80theora")?.get(3..)?
    else {
        return None;
    };
    let side = |high, low| u32::from(u16::from_be_bytes([high, low])) * 16;
    Some(Size { width: side(width_high, width_low), height: side(height_high, height_low) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a JPEG's segments up to its size, with EXIF data that state `orientation`.
    fn jpeg_header(orientation: u16, width: u16, height: u16) -> Vec<u8> {
        let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        exif.extend(orientation.to_be_bytes());
        exif.extend([0; 6]);
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2];
        bytes.extend([0xff, 0xe1]);
        bytes.extend((exif.len() as u16 + 2).to_be_bytes());
        bytes.extend(exif);
        // A fill byte before the marker.
        bytes.extend([0xff, 0xff, 0xc2, 0, 11, 8]);
        bytes.extend([height.to_be_bytes(), width.to_be_bytes()].concat());
        bytes
    }

    #[test]
    fn reads_size_and_orientation_of_a_jpeg() {
        for (value, tag) in [(1, "rotate-0"), (6, "rotate-90"), (5, "flip-rotate-270"), (77, "rotate-0")] {
            let bytes = jpeg_header(value, 4000, 3000);
            let wanted = Header {
                size: Some(Size { width: 4000, height: 3000 }),
                orientation: Orientation::from_tag(tag),
            };
            // The component count and the rest of the segment come later.
            let whole = [&bytes[..], &[3]].concat();
            assert_eq!(header(&whole), Some(wanted), "{value}");
            (0..bytes.len() - 2).for_each(|length| assert_eq!(header(&bytes[..length]), None, "{length}"));
        }
    }

    #[test]
    fn reads_the_frame_size_from_the_first_bytes() {
        let size = |width, height| Some(Size { width, height });
        assert_eq!(vp8_size(&[0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 0x42, 0xe0, 1, 9]), size(640, 480));
        assert_eq!(vp8_size(&[0x11, 0, 0, 0x9d, 1, 0x2a, 0x80, 0x42, 0xe0, 1, 9]), None);
        assert_eq!(theora_size(b"\x80theora\x03\x02\x01\xff\xff\x00\x1e"), size(1_048_560, 480));
        assert_eq!((theora_size(b"\x81theora"), vp8_size(&[])), (None, None));
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\x86\xa0\0\0\0\x02";
        assert_eq!(header(png).and_then(|header| header.size), size(100_000, 2));
    }
}
