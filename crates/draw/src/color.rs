//! Colors of classes.

use image::Rgb;

/// The fractional part of the golden ratio, by which the hue advances, so that the next hue differs from all earlier
/// ones.
const HUE_STEP: f32 = 0.618_034;

/// Saturation and value, used in turn, so that classes with similar hues still differ.
const TONES: [(f32, f32); 3] = [(0.95, 0.95), (0.60, 1.00), (1.00, 0.65)];

/// Returns the color of a class, which is the same in all images.
pub fn of_class(class_id: u32) -> Rgb<u8> {
    let hue = (class_id as f32 * HUE_STEP).fract() * 6.0;
    let (saturation, value) = TONES[class_id as usize % TONES.len()];
    let channel = |shift: f32| {
        let k = (shift + hue) % 6.0;
        ((value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)) * 255.0).round() as u8
    };
    Rgb([channel(5.0), channel(3.0), channel(1.0)])
}

/// Returns black or white, whichever has the higher contrast to `color` (WCAG 2, relative luminance).
pub(crate) fn ink_on(color: Rgb<u8>) -> Rgb<u8> {
    let linear = |channel: u8| {
        let c = f32::from(channel) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = color.0.map(linear);
    let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    // At this luminance, black and white have the same contrast.
    if luminance > 0.179 { Rgb([0; 3]) } else { Rgb([255; 3]) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn classes_have_distinct_colors() {
        let colors: BTreeSet<[u8; 3]> = (0..91).map(|class| of_class(class).0).collect();
        assert_eq!(colors.len(), 91);
        assert_eq!(of_class(0), Rgb([242, 12, 12]));
        of_class(u32::MAX);
    }

    #[test]
    fn text_color_contrasts_with_its_background() {
        assert_eq!(ink_on(Rgb([255, 255, 0])), Rgb([0; 3]));
        assert_eq!(ink_on(Rgb([0, 0, 180])), Rgb([255; 3]));
    }
}
