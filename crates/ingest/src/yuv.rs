//! Conversion of YUV to RGB.

use fast_image_resize::pixels::{U8, U8x2};
use gstreamer_video as video;
use lookout_schema::Size;
use lookout_stage::YuvFactors;

/// The pixels of one row: `Apart` with separate planes of U and V, `Together` with U and V interleaved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Yuv<'a> {
    Apart { y: &'a [U8], u: &'a [U8], v: &'a [U8] },
    Together { y: &'a [U8], uv: &'a [U8x2] },
}

/// The factors that convert YUV to RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix(YuvFactors);

const ONE: f64 = 65_536.0;

/// The weights of red and blue in luma.
const BT601: (f64, f64) = (0.299, 0.114);
const BT709: (f64, f64) = (0.2126, 0.0722);

impl Matrix {
    /// Creates the matrix for the colorimetry that the stream states: ITU-R BT.601, BT.709 or BT.2020, SMPTE 240M or
    /// FCC, in full or limited range.
    ///
    /// If the stream states none, the encoders' defaults apply: limited range for YUV and full range for gray,
    /// BT.709 for high definition (width of at least 1280 or height over 576 pixels) and BT.601 below. GStreamer
    /// would take an unknown range as full.
    pub(crate) fn new(stated: Option<&video::VideoColorimetry>, gray: bool, size: Size) -> Self {
        use video::{VideoColorMatrix as Stated, VideoColorRange as Range};
        let high_definition = size.width >= 1280 || size.height > 576;
        let (red, blue) = match stated.map(video::VideoColorimetry::matrix) {
            Some(Stated::Bt601) => BT601,
            Some(Stated::Bt709) => BT709,
            Some(Stated::Bt2020) => (0.2627, 0.0593),
            Some(Stated::Smpte240m) => (0.212, 0.087),
            Some(Stated::Fcc) => (0.30, 0.11),
            _ if high_definition => BT709,
            _ => BT601,
        };
        let full = match stated.map(video::VideoColorimetry::range) {
            Some(Range::Range0_255) => true,
            Some(Range::Range16_235) => false,
            _ => gray,
        };
        let (black, luma, chroma) = if full { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let green = 1.0 - red - blue;
        let factor = |factor: f64| (factor * ONE).round() as i32;
        Self(YuvFactors {
            black,
            y: factor(luma),
            v_to_red: factor(chroma * 2.0 * (1.0 - red)),
            u_to_green: factor(chroma * -2.0 * (1.0 - blue) * blue / green),
            v_to_green: factor(chroma * -2.0 * (1.0 - red) * red / green),
            u_to_blue: factor(chroma * 2.0 * (1.0 - blue)),
        })
    }

    pub(crate) fn factors(self) -> YuvFactors {
        self.0
    }

    /// Writes a row of RGB, 3 bytes per pixel.
    pub(crate) fn convert(self, yuv: &Yuv<'_>, rgb: &mut [u8]) {
        let to = rgb.chunks_exact_mut(3);
        match yuv {
            Yuv::Apart { y, u, v } => {
                for (((to, y), u), v) in to.zip(*y).zip(*u).zip(*v) {
                    to.copy_from_slice(&self.pixel(y.0, u.0, v.0));
                }
            }
            Yuv::Together { y, uv } => {
                for ((to, y), uv) in to.zip(*y).zip(*uv) {
                    let [u, v] = uv.0;
                    to.copy_from_slice(&self.pixel(y.0, u, v));
                }
            }
        }
    }

    fn pixel(self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let factors = self.0;
        let y = (i32::from(y) - factors.black) * factors.y + 32_768;
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let byte = |value: i32| (value >> 16).clamp(0, 255) as u8;
        [
            byte(y + v * factors.v_to_red),
            byte(y + u * factors.u_to_green + v * factors.v_to_green),
            byte(y + u * factors.u_to_blue),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { width: 640, height: 360 };

    fn converted(colorimetry: &str, yuv: [u8; 3]) -> [u8; 3] {
        crate::init().unwrap();
        let matrix = Matrix::new(Some(&colorimetry.parse().unwrap()), false, SMALL);
        let [y, u, v] = yuv.map(U8::new);
        let (mut apart, mut together) = ([0; 3], [0; 3]);
        matrix.convert(&Yuv::Apart { y: &[y], u: &[u], v: &[v] }, &mut apart);
        matrix.convert(&Yuv::Together { y: &[y], uv: &[U8x2::new([u.0, v.0])] }, &mut together);
        assert_eq!(apart, together);
        apart
    }

    #[test]
    fn primary_colors_match_the_standards() {
        for (colorimetry, yuv, rgb) in [
            ("bt601", [16, 128, 128], [0, 0, 0]),
            ("bt601", [235, 128, 128], [255, 255, 255]),
            ("bt601", [81, 90, 240], [254, 0, 0]),
            ("bt601", [145, 54, 34], [0, 255, 1]),
            ("bt601", [41, 240, 110], [0, 0, 255]),
            ("bt709", [63, 102, 240], [255, 1, 0]),
            ("bt709", [173, 42, 26], [0, 255, 1]),
            ("1:4:0:0", [0, 128, 128], [0, 0, 0]),
            ("1:4:0:0", [76, 85, 255], [254, 0, 0]),
        ] {
            let got = converted(colorimetry, yuv);
            let far = got.iter().zip(&rgb).map(|(a, b): (&u8, &u8)| a.abs_diff(*b)).max();
            assert!(far <= Some(2), "{colorimetry} {yuv:?}: {got:?}");
        }
    }

    #[test]
    fn values_beyond_white_and_black_are_clamped() {
        assert_eq!(converted("bt601", [255, 128, 128]), [255; 3]);
        assert_eq!(converted("bt601", [0, 128, 128]), [0; 3]);
        assert_eq!(converted("bt2020", [255, 255, 255])[0], 255);
    }

    #[test]
    fn unspecified_colorimetry_defaults_to_that_of_encoders() {
        crate::init().unwrap();
        let stated: video::VideoColorimetry = "0:3:5:1".parse().unwrap();
        let (limited_709, limited_601) = ("bt709".parse().unwrap(), "bt601".parse().unwrap());
        let large = Size { width: 1920, height: 1080 };
        assert_eq!(Matrix::new(Some(&stated), false, SMALL), Matrix::new(Some(&limited_709), false, SMALL));
        assert_eq!(Matrix::new(None, false, SMALL), Matrix::new(Some(&limited_601), false, SMALL));
        assert_eq!(Matrix::new(None, false, large), Matrix::new(Some(&limited_709), false, large));
        // Gray images have the full range, as in JPEG.
        assert_eq!(Matrix::new(None, true, SMALL).pixel(105, 128, 128), [105; 3]);
    }
}
