//! The vehicle's way in its camera's picture.
//!
//! On flat ground the two sides of a straight way are straight lines that meet at the horizon. Between them a foot
//! point's place, counted in halves of the way's width there, is its distance from the way's middle on the ground,
//! in halves of the way's width, however far away it is: that needs no calibration. What keeps that place while it
//! comes nearer keeps its bearing and will be there; what passes beside does so at the place that it has.

use lookout_config::{Calibration, CorridorSettings, PathSettings};
use lookout_schema::{BBox, Size};

use crate::{drift::Measured, ground::Ground};

/// How large the jitter of a box's side is taken to be, in pixels.
pub(crate) const SIDE_ERROR_PX: f64 = 2.0;

/// What stands so little below the horizon could be anywhere.
const MIN_BELOW_PX: f64 = 2.0 * SIDE_ERROR_PX;

/// The way's sides: `x = horizon_x + slope * (y - horizon_y)`, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Corridor {
    horizon: [f64; 2],
    /// Of the left and of the right side.
    slopes: [f64; 2],
}

/// Where an object stands, in halves of the way's width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// Of its middle from the way's middle, to the right.
    pub(crate) offset: Measured,
    /// From its middle to its side.
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
        // From the lower edge up to where the sides meet, in parts of the height.
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

    /// Where an object stands; none where its foot is not below the horizon.
    pub(crate) fn place(&self, bbox: BBox) -> Option<Place> {
        let [x1, _, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
        let below = y2 - self.horizon[1];
        if below < MIN_BELOW_PX {
            return None;
        }
        let [left, right] = self.slopes;
        let (middle, half) = ((left + right) / 2.0 * below, (right - left) / 2.0 * below);
        let x = (x1 + x2) / 2.0 - self.horizon[0];
        // By the jitter of the two sides, and of the foot.
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
    fn the_usual_corridor_is_that_of_the_usual_camera() {
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
    fn a_place_beside_the_way_stays_the_same_from_near_and_far() {
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
