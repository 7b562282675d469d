//! Brightness, contrast, saturation and hue, changed as torchvision's `ColorJitter` changes 8-bit tensors.

use rand::seq::SliceRandom;

use super::random::{Random, between};
use crate::sample::SampleImage;

/// The ranges of the changes. Brightness, contrast and saturation are multiplied by a factor between `1 - x` (at least
/// 0) and `1 + x`. The hue is shifted by up to this part of the circle, at most 0.5.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ColorJitter {
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    pub hue: f64,
}

impl ColorJitter {
    /// Changes each by a random amount, in random order.
    pub fn apply(&self, image: &mut SampleImage, random: &mut Random) {
        let mut order = [0, 1, 2, 3];
        order.shuffle(random);
        let mut factor = |by: f64| between((1.0 - by).max(0.0), 1.0 + by, random);
        let [brightness, contrast, saturation] =
            [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = between(-self.hue, self.hue, random).clamp(-0.5, 0.5);
        for what in order {
            match what {
                0 if self.brightness > 0.0 => brighten(&mut image.rgb, brightness),
                1 if self.contrast > 0.0 => contrast_by(&mut image.rgb, contrast),
                2 if self.saturation > 0.0 => saturate(&mut image.rgb, saturation),
                3 if self.hue > 0.0 => turn_hue(&mut image.rgb, turn),
                _ => {}
            }
        }
    }
}

/// The weights of two images in a blend. `other` is computed in `f64` and then rounded to `f32`, as in torch.
#[derive(Debug, Clone, Copy)]
struct Blend {
    one: f32,
    other: f32,
}

impl Blend {
    fn new(ratio: f64) -> Self {
        Self { one: ratio as f32, other: (1.0 - ratio) as f32 }
    }

    /// Blends two values, truncated to an integer, as torch converts to bytes.
    fn of(self, one: u8, other: f32) -> u8 {
        (self.one * f32::from(one) + self.other * other).clamp(0.0, 255.0) as u8
    }
}

fn brighten(rgb: &mut [u8], factor: f64) {
    let blend = Blend::new(factor);
    rgb.iter_mut().for_each(|byte| *byte = blend.of(*byte, 0.0));
}

fn contrast_by(rgb: &mut [u8], factor: f64) {
    let (pixels, _) = rgb.as_chunks::<3>();
    let sum: u64 = pixels.iter().map(|pixel| u64::from(grey(*pixel))).sum();
    let mean = (sum as f64 / pixels.len().max(1) as f64) as f32;
    let blend = Blend::new(factor);
    rgb.iter_mut().for_each(|byte| *byte = blend.of(*byte, mean));
}

fn saturate(rgb: &mut [u8], factor: f64) {
    let blend = Blend::new(factor);
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    for pixel in pixels {
        let grey = f32::from(grey(*pixel));
        *pixel = pixel.map(|byte| blend.of(byte, grey));
    }
}

fn turn_hue(rgb: &mut [u8], by: f64) {
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    for pixel in pixels {
        let [h, s, v] = hsv(pixel.map(|byte| f32::from(byte) / 255.0));
        // torchvision uses this factor for the conversion back to bytes.
        *pixel = from_hsv([(h + by as f32).rem_euclid(1.0), s, v]).map(|part| (part * (256.0 - 1e-3)) as u8);
    }
}

fn grey([r, g, b]: [u8; 3]) -> u8 {
    (0.2989 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)) as u8
}

fn hsv([r, g, b]: [f32; 3]) -> [f32; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    if range == 0.0 {
        return [0.0, 0.0, max];
    }
    let [rc, gc, bc] = [r, g, b].map(|part| (max - part) / range);
    let sector = if max == r {
        bc - gc
    } else if max == g {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    [(sector / 6.0 + 1.0) % 1.0, range / max, max]
}

fn from_hsv([h, s, v]: [f32; 3]) -> [f32; 3] {
    let sector = (h * 6.0).floor();
    let f = h * 6.0 - sector;
    let part = |part: f32| part.clamp(0.0, 1.0);
    let (p, q, t) = (part(v * (1.0 - s)), part(v * (1.0 - s * f)), part(v * (1.0 - s * (1.0 - f))));
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        rgb: Vec<u8>,
        changed: BTreeMap<String, Vec<(f64, Vec<u8>)>>,
    }

    #[test]
    fn color_jitter_matches_torchvision() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/goldens/color.json")).unwrap();
        type Change = fn(&mut [u8], f64);
        let changes: [(&str, Change); 4] = [
            ("brightness", brighten),
            ("contrast", contrast_by),
            ("saturation", saturate),
            ("hue", turn_hue),
        ];
        for (name, change) in changes {
            for (factor, expected) in &golden.changed[name] {
                let mut rgb = golden.rgb.clone();
                change(&mut rgb, *factor);
                let off = |a: u8, b: u8| a.abs_diff(b);
                let worst = rgb.iter().zip(expected).map(|(a, b)| off(*a, *b)).max().unwrap();
                let differ = rgb.iter().zip(expected).filter(|(a, b)| a != b).count();
                // Where a value is close to the next integer, the result depends on whether torch fuses the multiply
                // and the add.
                assert!(worst <= 1 && differ * 50 <= rgb.len(), "{name} {factor}: {worst}, {differ} differ");
            }
        }
    }
}
