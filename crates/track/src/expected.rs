//! How likely a detection is, of an object that moves as expected, or that does what its motion does not foresee.

use std::f64::consts::TAU;

use lookout_schema::{BBox, Size};

use crate::motion::parts;

/// How likely an object is to turn within a second, and that it has turned at all.
const TURNS: f64 = 0.04;
const MOST_TURNS: f64 = 0.3;

/// How likely one that comes back from the border comes back as if thrown back by it.
const THROWN_BACK: f64 = 0.5;

/// Where one that turned may be, as standard deviations: so much of its size around where it was last seen, and
/// of the way that it would have gone since.
const TURNED_SIZES: f64 = 0.3;
const TURNED_WAY: f64 = 0.9;
const THROWN_BACK_WAY: f64 = 0.22;

/// How likely a box is to have another size than expected, as that of a half-hidden object has, and by how much.
const OTHER_SIZE: f64 = 0.03;
const OTHER_SIZES: f64 = 0.2;

/// A thing that is thrown back is so at its centre or at its sides; this is between the two.
const INSET: f64 = 0.75;

/// A density of boxes, a pixel to the fourth: of place and of size, each a narrow normal distribution or, with
/// less weight, a wide one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Centre, width and height.
    at: [f64; 4],
    /// Their variances.
    spread: [f64; 4],
    ln_narrow: [f64; 2],
    wide: [Wide; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Wide {
    at: [f64; 2],
    spread: f64,
    ln: f64,
}

impl Wide {
    fn new(at: [f64; 2], spread: f64, weight: f64) -> Self {
        Self { at, spread, ln: (weight / (TAU * spread)).ln() }
    }

    fn ln_likelihood(&self, [a, b]: [f64; 2]) -> f64 {
        self.ln - 0.5 * ((a - self.at[0]).powi(2) + (b - self.at[1]).powi(2)) / self.spread
    }
}

impl Expected {
    pub(crate) fn new(at: [f64; 4], spread: [f64; 4]) -> Self {
        let ln = |i: usize| -0.5 * (spread[i] * spread[i + 1]).ln() - TAU.ln();
        let mut expected = Self { at, spread, ln_narrow: [ln(0), ln(2)], wide: [Wide::default(); 2] };
        let other = (spread[2] + spread[3]) / 2.0 + (OTHER_SIZES * expected.size()).powi(2);
        expected.wide[1] = Wide::new([at[2], at[3]], other, OTHER_SIZE);
        expected
    }

    fn size(&self) -> f64 {
        (self.at[2].max(1.0) * self.at[3].max(1.0)).sqrt()
    }

    fn turned_spread(&self, way: [f64; 2], of_way: f64) -> f64 {
        let way = way[0].powi(2) + way[1].powi(2);
        (self.spread[0] + self.spread[1]) / 2.0 + (TURNED_SIZES * self.size()).powi(2) + of_way.powi(2) * way
    }

    /// It may have turned since it was last seen, which would have led it by `way`, in pixels.
    pub(crate) fn or_turned(mut self, way: [f64; 2], since_s: f64) -> Self {
        let before = [self.at[0] - way[0], self.at[1] - way[1]];
        let weight = (TURNS * since_s).clamp(f64::MIN_POSITIVE, MOST_TURNS);
        self.wide[0] = Wide::new(before, self.turned_spread(way, TURNED_WAY), weight);
        self
    }

    /// Its way leads over the border of the picture of `source`; if it is seen at all it did not leave, which is
    /// `back` likely, and then it is as far inside as it would be outside.
    pub(crate) fn or_back(mut self, source: Size, way: [f64; 2], back: f64) -> Self {
        let mirrored = |value: f64, length: f64, side: u32| {
            let inset = INSET * length.max(1.0) / 2.0;
            2.0 * value.min(f64::from(side) - inset).max(inset) - value
        };
        let [x, y, width, height] = self.at;
        let inside = [mirrored(x, width, source.width), mirrored(y, height, source.height)];
        self.wide[0] =
            Wide::new(inside, self.turned_spread(way, THROWN_BACK_WAY), THROWN_BACK * back.powi(2));
        self
    }

    /// The logarithm of the density at a box.
    pub(crate) fn ln_likelihood(&self, bbox: BBox) -> f64 {
        let box_parts = parts(bbox);
        let off = |i: usize| (box_parts[i] - self.at[i]).powi(2) / self.spread[i];
        let part = |i: usize| {
            let (a, b) = (2 * i, 2 * i + 1);
            let narrow = self.ln_narrow[i] - 0.5 * (off(a) + off(b));
            narrow.max(self.wide[i].ln_likelihood([box_parts[a], box_parts[b]]))
        };
        part(0) + part(1)
    }
}
