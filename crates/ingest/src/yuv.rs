//! YUV to RGB.

use fast_image_resize::pixels::{U8, U8x2};
use gstreamer_video as video;

/// Pixels of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Yuv<'a> {
    Apart { y: &'a [U8], u: &'a [U8], v: &'a [U8] },
    Together { y: &'a [U8], uv: &'a [U8x2] },
}

/// How YUV becomes RGB: factors of 2^16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix {
    black: i32,
    y: i32,
    v_to_red: i32,
    u_to_green: i32,
    v_to_green: i32,
    u_to_blue: i32,
}

const ONE: f64 = 65_536.0;

impl Matrix {
    /// From what the stream says of itself: ITU-R BT.601, BT.709 or BT.2020, in the full range of a byte or in
    /// that of studios. None for others.
    pub(crate) fn new(colorimetry: &video::VideoColorimetry) -> Option<Self> {
        let (red, blue) = match colorimetry.matrix() {
            video::VideoColorMatrix::Bt601 => (0.299, 0.114),
            video::VideoColorMatrix::Bt709 => (0.2126, 0.0722),
            video::VideoColorMatrix::Bt2020 => (0.2627, 0.0593),
            _ => return None,
        };
        let (black, luma, chroma) = match colorimetry.range() {
            video::VideoColorRange::Range0_255 => (0, 1.0, 1.0),
            video::VideoColorRange::Range16_235 => (16, 255.0 / 219.0, 255.0 / 224.0),
            _ => return None,
        };
        let green = 1.0 - red - blue;
        let factor = |factor: f64| (factor * ONE).round() as i32;
        Some(Self {
            black,
            y: factor(luma),
            v_to_red: factor(chroma * 2.0 * (1.0 - red)),
            u_to_green: factor(chroma * -2.0 * (1.0 - blue) * blue / green),
            v_to_green: factor(chroma * -2.0 * (1.0 - red) * red / green),
            u_to_blue: factor(chroma * 2.0 * (1.0 - blue)),
        })
    }

    /// Writes a row of RGB, three bytes a pixel.
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
        let y = (i32::from(y) - self.black) * self.y + 32_768;
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let byte = |value: i32| (value >> 16).clamp(0, 255) as u8;
        [
            byte(y + v * self.v_to_red),
            byte(y + u * self.u_to_green + v * self.v_to_green),
            byte(y + u * self.u_to_blue),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(colorimetry: &str, yuv: [u8; 3]) -> [u8; 3] {
        crate::init().unwrap();
        let matrix = Matrix::new(&colorimetry.parse().unwrap()).unwrap();
        let [y, u, v] = yuv.map(U8::new);
        let (mut apart, mut together) = ([0; 3], [0; 3]);
        matrix.convert(&Yuv::Apart { y: &[y], u: &[u], v: &[v] }, &mut apart);
        matrix.convert(&Yuv::Together { y: &[y], uv: &[U8x2::new([u.0, v.0])] }, &mut together);
        assert_eq!(apart, together);
        apart
    }

    #[test]
    fn the_primaries_are_those_of_the_standards() {
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
    fn what_lies_beyond_white_and_black_is_white_and_black() {
        assert_eq!(converted("bt601", [255, 128, 128]), [255; 3]);
        assert_eq!(converted("bt601", [0, 128, 128]), [0; 3]);
        assert_eq!(converted("bt2020", [255, 255, 255])[0], 255);
    }
}
