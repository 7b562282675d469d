//! The crop: which part of a stored frame is visible in the network's input, and where it lies there.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};
use gstreamer_video as video;
use lookout_schema::{Rect, Size};
use lookout_stage::ResizeTransform;

use crate::orientation::Orientation;

/// The crop of a stored frame that is visible in the network's input, and its rectangle there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Crop {
    /// Fractions of the stored frame's width and height, which are the same for all of its planes.
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// How the stored frame is rotated and mirrored for display.
    pub(crate) orientation: Orientation,
    /// Rectangle in the network's input, in pixels.
    pub(crate) to: Rect,
}

/// Maximum width in pixels after correction by the pixel aspect ratio. A ratio that exceeds it is invalid and ignored.
const MAX_SIDE: u64 = 65_535;

/// Returns the size in which a frame of `info` is displayed: with square pixels, and rotated by `orientation`.
///
/// The pixel aspect ratio changes the width of the stored frame, as ffmpeg's `iw*sar` does, and never its height.
pub(crate) fn displayed_size(info: &video::VideoInfo, orientation: Orientation) -> Size {
    let (width, height) = (info.width(), info.height());
    let (numer, denom) = (info.par().numer(), info.par().denom());
    let square = match (u64::try_from(numer), u64::try_from(denom)) {
        (Ok(numer @ 1..), Ok(denom @ 1..)) => (u64::from(width) * numer + denom / 2) / denom,
        _ => u64::from(width),
    };
    let width = u32::try_from(square).ok().filter(|_| (1..=MAX_SIDE).contains(&square)).unwrap_or(width);
    orientation.turned(Size { width, height })
}

impl Crop {
    /// Computes the crop of a frame with the displayed size `shown`, which `placement` maps into `input`.
    pub(crate) fn new(
        shown: Size,
        input: Size,
        placement: ResizeTransform,
        orientation: Orientation,
    ) -> Self {
        // The offset is a whole number of pixels, and the end of the source is rounded to one.
        let span = |offset: f32, scale: f32, shown: u32, input: u32| {
            let (offset, scale) = (f64::from(offset), f64::from(scale));
            let shown = f64::from(shown);
            let from = offset.clamp(0.0, f64::from(input - 1));
            let to = (offset + scale * shown).round().clamp(from + 1.0, f64::from(input));
            let start = ((from - offset) / scale / shown).clamp(0.0, 1.0 - LEAST);
            let length = ((to - from) / scale / shown).clamp(LEAST, 1.0 - start);
            (from as u32, (to - from) as u32, start, length)
        };
        let ResizeTransform { scale_x, scale_y, offset_x, offset_y } = placement;
        let (x, to_width, left, width) = span(offset_x, scale_x, shown.width, input.width);
        let (y, to_height, top, height) = span(offset_y, scale_y, shown.height, input.height);
        let Orientation { swap, mirror_x, mirror_y } = orientation;
        let ((left, width), (top, height)) =
            if swap { ((top, height), (left, width)) } else { ((left, width), (top, height)) };
        Self {
            left: if mirror_x { 1.0 - left - width } else { left }.max(0.0),
            top: if mirror_y { 1.0 - top - height } else { top }.max(0.0),
            width,
            height,
            orientation,
            to: Rect { x, y, width: to_width, height: to_height },
        }
    }

    /// Returns left, top, width and height of the crop, as fractions of the stored frame's size.
    pub(crate) fn seen(&self) -> [f64; 4] {
        [self.left, self.top, self.width, self.height]
    }

    /// Returns the options that crop and scale a plane of `size` pixels, which covers the whole frame.
    pub(crate) fn options(&self, size: Size) -> ResizeOptions {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let (left, top) = (self.left * width, self.top * height);
        // The last of two or four channels is a color or unused, not an alpha channel that weights the others.
        let options = ResizeOptions::new().use_alpha(false);
        options.resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            left,
            top,
            // Rounding can put the sum slightly beyond the border.
            (self.width * width).min(width - left),
            (self.height * height).min(height - top),
        )
    }
}

/// Minimum length of the crop, as a fraction of the frame's side.
const LEAST: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use lookout_stage::ResizeMode;

    use super::*;

    #[test]
    fn the_visible_crop_of_the_source_fills_the_input() {
        let (source, input) = (Size { width: 768, height: 576 }, Size { width: 224, height: 224 });
        let placement = ResizeMode::CenterCrop { short_side: 256 }.place(source, input);
        let crop = Crop::new(source, input, placement, Orientation::default());
        assert_eq!(crop.to, Rect { x: 0, y: 0, width: 224, height: 224 });
        // 224 of 256 rows. The corner of torchvision's crop is at (58, 16) in the resized 341x256 frame.
        assert!(
            (crop.height - 504.0 / 576.0).abs() < 1e-5 && (crop.top - 36.0 / 576.0).abs() < 1e-5,
            "{crop:?}"
        );
        assert!((crop.left - 58.0 / 341.0).abs() < 1e-5, "{crop:?}");
        let input = Size { width: 640, height: 384 };
        let letterbox =
            Crop::new(source, input, ResizeMode::Letterbox.place(source, input), Orientation::default());
        assert!(letterbox.left == 0.0 && (letterbox.width - 1.0).abs() < 1e-6, "{letterbox:?}");
        assert_eq!(letterbox.to, Rect { x: 64, y: 0, width: 512, height: 384 });
    }
}
