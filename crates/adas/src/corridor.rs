//! The vehicle's corridor in its camera's image.
//!
//! On flat ground the two sides of a straight corridor are straight lines that meet at the horizon. Between
//! them, the lateral position of a foot point, in half corridor widths at that image row, equals its distance
//! from the corridor's center line on the ground, in half corridor widths, at any distance. This needs no
//! calibration. An object that keeps its position while it approaches has a constant bearing and is on a
//! collision course. An object that passes beside the vehicle does so at the position that it has.

use lookout_config::{Calibration, CorridorSettings, PathSettings};
use lookout_schema::{BBox, Size};

use crate::{
    ground::Ground,
    linear_estimate::{Measured, SIDE_ERROR_PX},
};

/// The minimum distance of a foot point below the horizon. Above it, the position is too uncertain.
const MIN_BELOW_PX: f64 = 2.0 * SIDE_ERROR_PX;

/// The sides of the corridor: `x = horizon_x + slope * (y - horizon_y)`, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Corridor {
    horizon: [f64; 2],
    /// The slopes of the left and of the right side.
    slopes: [f64; 2],
}

/// The position of an object, in half corridor widths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// The offset of its center from the corridor's center line, positive to the right.
    pub(crate) offset: Measured,
    /// Half of its width.
    pub(crate) half_width: f64,
}

impl Corridor {
    pub(crate) fn new(path: &PathSettings, source: Size) -> Self {
        match path {
            PathSettings::Drawn(drawn) => Self::drawn(drawn, source),
            PathSettings::Calibrated(calibration) => Self::calibrated(calibration, source),
        }
    }

    fn drawn(drawn: &CorridorSettings, source: Size) -> Self {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let ([left, right], [top_left, top_right]) = (drawn.bottom, drawn.top);
        let narrowed = 1.0 - (top_right - top_left) / (right - left);
        // The distance from the lower edge of the image to the point where the sides meet, as a fraction of
        // the height.
        let up = (1.0 - drawn.top_y) / narrowed;
        let horizon_x = left + (top_left - left) / narrowed;
        let slope = |end: f64| (end - horizon_x) * width / (up * height);
        Self { horizon: [horizon_x * width, (1.0 - up) * height], slopes: [slope(left), slope(right)] }
    }

    fn calibrated(calibration: &Calibration, source: Size) -> Self {
        let ground = Ground::new(calibration, source);
        let slope = ground.slope(calibration.corridor_m / 2.0);
        Self { horizon: ground.horizon(), slopes: [-slope, slope] }
    }

    /// Returns the position of an object; `None` if its foot is not far enough below the horizon.
    pub(crate) fn place(&self, bbox: BBox) -> Option<Place> {
        let [x1, _, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
        let below = y2 - self.horizon[1];
        if below < MIN_BELOW_PX {
            return None;
        }
        let [left, right] = self.slopes;
        let (middle, half) = ((left + right) / 2.0 * below, (right - left) / 2.0 * below);
        let x = (x1 + x2) / 2.0 - self.horizon[0];
        // The jitter of the two sides, and of the foot.
        let across = SIDE_ERROR_PX / 2.0_f64.sqrt() / half;
        let along = SIDE_ERROR_PX / below * x / half;
        let offset = Measured { value: (x - middle) / half, std: across.hypot(along) };
        Some(Place { offset, half_width: (x2 - x1) / 2.0 / half })
    }
}

#[cfg(test)]
mod tests {
    use lookout_config::Lens;

    use super::*;

    const SOURCE: Size = Size { width: 1280, height: 720 };

    #[test]
    fn default_corridor_matches_a_typical_camera() {
        let usual = Corridor::new(&PathSettings::Drawn(CorridorSettings::default()), SOURCE);
        let calibration = Calibration {
            height_m: 1.3,
            pitch_deg: 0.0,
            yaw_deg: 0.0,
            lens: Lens::HfovDeg(60.0),
            corridor_m: 2.4,
        };
        let known = Corridor::new(&PathSettings::Calibrated(calibration), SOURCE);
        for (a, b) in [
            (usual.horizon[0], known.horizon[0]),
            (usual.horizon[1], known.horizon[1]),
            (usual.slopes[0] * 100.0, known.slopes[0] * 100.0),
            (usual.slopes[1] * 100.0, known.slopes[1] * 100.0),
        ] {
            assert!((a - b).abs() < 4.0, "{usual:?} {known:?}");
        }
    }

    #[test]
    fn offset_from_the_corridor_is_independent_of_distance() {
        let corridor = Corridor::new(&PathSettings::Drawn(CorridorSettings::default()), SOURCE);
        let offsets = [40.0, 80.0, 160.0, 300.0].map(|below| {
            let (x, y) = (corridor.horizon[0] + 1.5 * below, corridor.horizon[1] + below);
            let bbox = [x - 0.2 * below, y - 50.0, x + 0.2 * below, y].map(|part| part as f32);
            corridor.place(BBox::from(bbox)).unwrap()
        });
        assert!(offsets.iter().all(|place| (place.offset.value - offsets[0].offset.value).abs() < 1e-3));
        assert!(offsets[0].offset.value > 1.2 && offsets[0].offset.std > offsets[3].offset.std);
        let sky = BBox::from([600.0, 300.0, 640.0, (corridor.horizon[1] + 1.0) as f32]);
        assert_eq!(corridor.place(sky), None);
    }
}
