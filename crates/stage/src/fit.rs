//! Resize modes: how a frame of any shape is brought to the fixed input shape of a network.

use lookout_schema::{BBox, Rect, Size};

/// How the source frame is resized to the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeMode {
    /// Scales the frame to fit within the input, keeps its aspect ratio, centers it and fills the rest with black.
    Letterbox,
    /// Scales the short side to `short_side`, then crops the center to the input's size: torchvision's evaluation
    /// transform for classifiers.
    CenterCrop {
        /// Length of the short side before the crop, in pixels.
        short_side: u32,
    },
    /// Scales the frame to the input's size without keeping its aspect ratio.
    Stretch,
}

/// The resize transform from source frame to model input: `input = source * scale + offset`, for each axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizeTransform {
    /// Pixels of the input per pixel of the source, horizontally.
    pub scale_x: f32,
    /// Pixels of the input per pixel of the source, vertically.
    pub scale_y: f32,
    /// Pixels of the input; negative where the source is cropped.
    pub offset_x: f32,
    /// Pixels of the input; negative where the source is cropped.
    pub offset_y: f32,
}

impl ResizeTransform {
    /// Maps a box from pixels of the source to pixels of the input.
    pub fn to_input(&self, source: BBox) -> BBox {
        BBox {
            x1: source.x1 * self.scale_x + self.offset_x,
            y1: source.y1 * self.scale_y + self.offset_y,
            x2: source.x2 * self.scale_x + self.offset_x,
            y2: source.y2 * self.scale_y + self.offset_y,
        }
    }

    /// Maps a box from pixels of the input to pixels of the source.
    pub fn to_source(&self, input: BBox) -> BBox {
        BBox {
            x1: (input.x1 - self.offset_x) / self.scale_x,
            y1: (input.y1 - self.offset_y) / self.scale_y,
            x2: (input.x2 - self.offset_x) / self.scale_x,
            y2: (input.y2 - self.offset_y) / self.scale_y,
        }
    }
}

impl ResizeMode {
    /// Returns the transform from a frame of size `source` to an input of size `input`.
    ///
    /// A letterbox scales by the smaller of the two ratios, to whole pixels, and centers the result; an odd pixel of
    /// padding is added below or to the right. A center crop resizes as torchvision does: the short side to
    /// `short_side`, the long side to `int(short_side * long / short)`, with the corner of the crop at `round((resized
    /// - input) / 2)`.
    pub fn place(self, source: Size, input: Size) -> ResizeTransform {
        let (sw, sh) = (source.width as f32, source.height as f32);
        match self {
            Self::Stretch => ResizeTransform {
                scale_x: input.width as f32 / sw,
                scale_y: input.height as f32 / sh,
                offset_x: 0.0,
                offset_y: 0.0,
            },
            Self::Letterbox => {
                let inner = Self::letterbox(source, input);
                ResizeTransform {
                    scale_x: inner.width as f32 / sw,
                    scale_y: inner.height as f32 / sh,
                    offset_x: inner.x as f32,
                    offset_y: inner.y as f32,
                }
            }
            Self::CenterCrop { short_side } => {
                let resized = Self::short_side(source, short_side);
                ResizeTransform {
                    scale_x: resized.width as f32 / sw,
                    scale_y: resized.height as f32 / sh,
                    offset_x: -half_to_even(i64::from(resized.width) - i64::from(input.width)),
                    offset_y: -half_to_even(i64::from(resized.height) - i64::from(input.height)),
                }
            }
        }
    }

    /// Returns the rectangle of the input that the letterboxed source covers.
    pub fn letterbox(source: Size, input: Size) -> Rect {
        let (sw, sh) = (u64::from(source.width), u64::from(source.height));
        let (iw, ih) = (u64::from(input.width), u64::from(input.height));
        // The source is the wider of the two shapes when sw / sh > iw / ih.
        let (width, height) = if sw * ih >= iw * sh {
            (iw, ((iw * sh + sw / 2) / sw).clamp(1, ih))
        } else {
            (((ih * sw + sh / 2) / sh).clamp(1, iw), ih)
        };
        Rect {
            x: ((iw - width) / 2) as u32,
            y: ((ih - height) / 2) as u32,
            width: width as u32,
            height: height as u32,
        }
    }

    /// Returns the size to which torchvision's `Resize(short_side)` resizes `source`.
    pub fn short_side(source: Size, short_side: u32) -> Size {
        let long =
            |long: u32, short: u32| (u64::from(short_side) * u64::from(long) / u64::from(short)) as u32;
        if source.width <= source.height {
            Size { width: short_side, height: long(source.height, source.width) }
        } else {
            Size { width: long(source.width, source.height), height: short_side }
        }
    }
}

/// Returns half of `n`, rounded half to even like Python's `round`, which torchvision's `CenterCrop` uses.
fn half_to_even(n: i64) -> f32 {
    let (whole, odd) = (n.div_euclid(2), n.rem_euclid(2));
    (if odd == 1 && whole % 2 != 0 { whole + 1 } else { whole }) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn a_wide_frame_is_letterboxed_with_bars_above_and_below() {
        let inner = ResizeMode::letterbox(size(1920, 1080), size(640, 384));
        assert_eq!(inner, Rect { x: 0, y: 12, width: 640, height: 360 });
    }

    #[test]
    fn the_center_crop_matches_torchvision() {
        let fit = ResizeMode::CenterCrop { short_side: 256 };
        let placement = fit.place(size(768, 576), size(224, 224));
        assert_eq!(ResizeMode::short_side(size(768, 576), 256), size(341, 256));
        // round((341 - 224) / 2) = round(58.5) = 58, because Python rounds half to even.
        assert_eq!((placement.offset_x, placement.offset_y), (-58.0, -16.0));
    }

    proptest! {
        #[test]
        fn boxes_are_mapped_back_to_the_source_frame(
            (sw, sh, iw, ih) in (1u32..4000, 1u32..4000, 8u32..1400, 8u32..1400),
            stretch in any::<bool>(),
        ) {
            let fit = if stretch { ResizeMode::Stretch } else { ResizeMode::Letterbox };
            let p = fit.place(size(sw, sh), size(iw, ih));
            let input = BBox {
                x1: p.offset_x,
                y1: p.offset_y,
                x2: sw as f32 * p.scale_x + p.offset_x,
                y2: sh as f32 * p.scale_y + p.offset_y,
            };
            prop_assert!(input.x1 >= 0.0 && input.x2 <= iw as f32 + 0.01);
            prop_assert!(input.y1 >= 0.0 && input.y2 <= ih as f32 + 0.01);
            let source = p.to_source(input);
            let back = p.to_input(source);
            prop_assert!((back.x2 - input.x2).abs() < 0.01 && (back.y1 - input.y1).abs() < 0.01);
            prop_assert!((source.x2 - sw as f32).abs() < 0.01 * sw as f32 + 0.01);
            prop_assert!((source.y2 - sh as f32).abs() < 0.01 * sh as f32 + 0.01);
        }
    }
}
