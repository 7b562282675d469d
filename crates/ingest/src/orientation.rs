//! How a stored frame is turned for display.
//!
//! Containers, JPEG's EXIF data and the SEI message "display orientation" of H.264 and H.265 state the orientation
//! separately from the pixels. GStreamer passes it on as the tag `image-orientation`. A frame is turned after it has
//! been scaled to the network's input, because turning every decoded frame would cost more than the scaling.

use gst::prelude::*;
use gstreamer as gst;
use lookout_schema::Size;

/// One of the eight orientations of an image.
///
/// The point `(x, y)` of the displayed image, with both coordinates from 0 to 1, is stored at `(y, x)` if `swap` is
/// set and at `(x, y)` otherwise, and is then mirrored along the stored axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orientation {
    /// The stored rows are the displayed columns.
    pub(crate) swap: bool,
    /// The stored x axis is reversed.
    pub(crate) mirror_x: bool,
    /// The stored y axis is reversed.
    pub(crate) mirror_y: bool,
}

impl Orientation {
    const fn new(swap: bool, mirror_x: bool, mirror_y: bool) -> Self {
        Self { swap, mirror_x, mirror_y }
    }

    /// The values of the tag `image-orientation`, in the order of EXIF's values 1 to 8.
    const TAGS: [(&'static str, Self); 8] = [
        ("rotate-0", Self::new(false, false, false)),
        ("flip-rotate-0", Self::new(false, true, false)),
        ("rotate-180", Self::new(false, true, true)),
        ("flip-rotate-180", Self::new(false, false, true)),
        ("flip-rotate-270", Self::new(true, false, false)),
        ("rotate-90", Self::new(true, false, true)),
        ("flip-rotate-90", Self::new(true, true, true)),
        ("rotate-270", Self::new(true, true, false)),
    ];

    /// Returns the orientation for the tag's value `name`, or None if it is unknown.
    pub(crate) fn from_tag(name: &str) -> Option<Self> {
        Self::TAGS.into_iter().find(|(tag, _)| *tag == name).map(|(_, orientation)| orientation)
    }

    /// Returns the tag's value.
    pub(crate) fn tag(self) -> &'static str {
        let same = Self::TAGS.into_iter().find(|(_, orientation)| *orientation == self);
        same.map_or("rotate-0", |(tag, _)| tag)
    }

    /// Returns the orientation for EXIF's value, 1 to 8.
    pub(crate) fn from_exif(value: u32) -> Option<Self> {
        let index = usize::try_from(value).ok()?.checked_sub(1)?;
        Self::TAGS.get(index).map(|(_, orientation)| *orientation)
    }

    /// Returns the orientation that a display orientation SEI message states (Rec. ITU-T H.264, section D.2.27).
    ///
    /// The frame is flipped first, and then rotated counterclockwise in units of 360/65536 degrees. Returns None for
    /// angles that are not multiples of 90 degrees.
    pub(crate) fn from_sei(hor_flip: bool, ver_flip: bool, anticlockwise_rotation: u16) -> Option<Self> {
        if !anticlockwise_rotation.is_multiple_of(0x4000) {
            return None;
        }
        // Both flips together are a rotation by 180 degrees. A vertical flip is a horizontal flip and a rotation by
        // 180 degrees.
        let half = if ver_flip { 2 } else { 0 };
        let quarters = (4 - i32::from(anticlockwise_rotation / 0x4000) + half) % 4;
        let flip = if hor_flip != ver_flip { "flip-" } else { "" };
        Self::from_tag(&format!("{flip}rotate-{}", quarters * 90))
    }

    /// Returns the orientation that the tags on `pad` state.
    ///
    /// Tags are sticky: a pad keeps the latest one until another stream starts on it.
    pub(crate) fn of(pad: &gst::Pad) -> Self {
        let tags = (0..).map_while(|index| pad.sticky_event::<gst::event::Tag>(index));
        let stated = tags.filter_map(|event| {
            let orientation = event.tag().get::<gst::tags::ImageOrientation>()?;
            Self::from_tag(orientation.get())
        });
        stated.last().unwrap_or_default()
    }

    /// Returns the displayed size of an image with the stored size `size`, or the stored size for a displayed one.
    pub(crate) fn turned(self, size: Size) -> Size {
        if self.swap { Size { width: size.height, height: size.width } } else { size }
    }

    /// Copies the image `stored` of `size` pixels to `to`, turned for display. Pixels are RGB.
    ///
    /// `to` starts with the first displayed pixel. Its rows are `row_bytes` apart.
    pub(crate) fn copy(self, stored: &[u8], size: Size, to: &mut [u8], row_bytes: usize) {
        let (width, height) = (size.width as usize, size.height as usize);
        let shown = self.turned(size);
        for (y, row) in to.chunks_mut(row_bytes).take(shown.height as usize).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).take(shown.width as usize).enumerate() {
                let (x, y) = if self.swap { (y, x) } else { (x, y) };
                let x = if self.mirror_x { width - 1 - x } else { x };
                let y = if self.mirror_y { height - 1 - y } else { y };
                pixel.copy_from_slice(&stored[(y * width + x) * 3..][..3]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Displays the image `stored`, of `width` columns, in which each pixel is a letter.
    fn displayed(tag: &str, stored: &str, width: u32) -> String {
        let size = Size { width, height: stored.len() as u32 / width };
        let rgb: Vec<u8> = stored.bytes().flat_map(|letter| [letter; 3]).collect();
        let orientation = Orientation::from_tag(tag).unwrap();
        let mut to = vec![0; rgb.len()];
        orientation.copy(&rgb, size, &mut to, orientation.turned(size).width as usize * 3);
        to.chunks(3).map(|pixel| char::from(pixel[0])).collect()
    }

    #[test]
    fn each_tag_rotates_and_flips_as_players_do() {
        // The stored image:
        // ab
        // cd
        // ef
        for (tag, shown) in [
            ("rotate-0", "abcdef"),
            ("rotate-90", "ecafdb"),
            ("rotate-180", "fedcba"),
            ("rotate-270", "bdface"),
            ("flip-rotate-0", "badcfe"),
            ("flip-rotate-90", "fdbeca"),
            ("flip-rotate-180", "efcdab"),
            ("flip-rotate-270", "acebdf"),
        ] {
            assert_eq!(displayed(tag, "abcdef", 2), shown, "{tag}");
            assert_eq!(Orientation::from_tag(tag).unwrap().tag(), tag);
        }
    }

    #[test]
    fn an_sei_message_flips_first_and_rotates_counterclockwise() {
        for (hor_flip, ver_flip, rotation, tag) in [
            (false, false, 0, "rotate-0"),
            (false, false, 0x4000, "rotate-270"),
            (false, false, 0x8000, "rotate-180"),
            (false, false, 0xc000, "rotate-90"),
            (true, false, 0, "flip-rotate-0"),
            (false, true, 0, "flip-rotate-180"),
            (true, true, 0, "rotate-180"),
        ] {
            let orientation = Orientation::from_sei(hor_flip, ver_flip, rotation).unwrap();
            assert_eq!(orientation.tag(), tag, "{hor_flip} {ver_flip} {rotation}");
        }
        assert_eq!(Orientation::from_sei(false, false, 0x2000), None);
    }

    #[test]
    fn exif_values_outside_of_the_standard_are_ignored() {
        assert_eq!(Orientation::from_exif(6).map(Orientation::tag), Some("rotate-90"));
        assert_eq!((Orientation::from_exif(0), Orientation::from_exif(9)), (None, None));
    }
}
