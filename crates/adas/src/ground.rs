//! Distances along the ground, from a pinhole camera above flat ground (Hartley and Zisserman, Multiple View
//! Geometry, chapter 6): the lower below the horizon the foot of an object is seen, the nearer the object is.

use lookout_config::{Calibration, Lens};
use lookout_schema::{BBox, Size};

use crate::linear_estimate::{Measured, SIDE_ERROR_PX};

/// The maximum relative standard deviation of a distance that is reported.
const MAX_ERROR: f64 = 0.5;

/// A calibrated camera above the ground plane. Angles are in radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ground {
    focal_px: f64,
    height_m: f64,
    pitch: f64,
    horizon: [f64; 2],
}

impl Ground {
    pub(crate) fn new(calibration: &Calibration, source: Size) -> Self {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let focal_px = match calibration.lens {
            Lens::FocalPx(focal) => focal,
            Lens::HfovDeg(hfov) => width / 2.0 / (hfov.to_radians() / 2.0).tan(),
        };
        let (pitch, yaw) = (calibration.pitch_deg.to_radians(), calibration.yaw_deg.to_radians());
        // In the image of a camera that points to the right, the vehicle's heading is left of the center.
        let horizon =
            [width / 2.0 - focal_px * yaw.tan() / pitch.cos(), height / 2.0 - focal_px * pitch.tan()];
        Self { focal_px, height_m: calibration.height_m, pitch, horizon }
    }

    /// Returns the vanishing point of the vehicle's heading, in pixels.
    pub(crate) fn horizon(&self) -> [f64; 2] {
        self.horizon
    }

    /// Returns the slope of a line on the ground that runs ahead, `meters` to the right of the camera: pixels
    /// to the right per pixel down from the horizon.
    pub(crate) fn slope(&self, meters: f64) -> f64 {
        meters * self.pitch.cos() / self.height_m
    }

    /// Returns how far ahead of the camera an object stands, in meters; `None` if its foot is too close to
    /// the horizon.
    pub(crate) fn distance(&self, bbox: BBox) -> Option<Measured> {
        let below = f64::from(bbox.y2) - self.horizon[1];
        if below <= 0.0 {
            return None;
        }
        let depth = self.focal_px * self.height_m / (self.pitch.cos() * below);
        let distance = (depth - self.height_m * self.pitch.sin()) / self.pitch.cos();
        let std = depth / self.pitch.cos() * SIDE_ERROR_PX / below;
        (distance > 0.0 && std < MAX_ERROR * distance).then_some(Measured { value: distance, std })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Size = Size { width: 1280, height: 720 };

    /// Returns where a point on the ground is seen, calculated independently by rotating the camera.
    fn seen(calibration: &Calibration, right: f64, ahead: f64) -> [f64; 2] {
        let Lens::FocalPx(focal) = calibration.lens else { panic!("no focal length") };
        let (sin, cos) = calibration.pitch_deg.to_radians().sin_cos();
        let depth = ahead * cos + calibration.height_m * sin;
        let down = calibration.height_m * cos - ahead * sin;
        [640.0 + focal * right / depth, 360.0 + focal * down / depth]
    }

    #[test]
    fn distance_inverts_projection() {
        for pitch_deg in [-2.0, 0.0, 7.0, 30.0] {
            let lens = Lens::FocalPx(900.0);
            let calibration = Calibration { height_m: 1.6, pitch_deg, yaw_deg: 0.0, lens, corridor_m: 2.0 };
            let ground = Ground::new(&calibration, SOURCE);
            for (right, ahead) in [(-2.0, 8.0), (0.0, 15.0), (1.0, 30.0)] {
                let [x, y] = seen(&calibration, right, ahead);
                let bbox = BBox::from([x - 9.0, y - 40.0, x + 9.0, y].map(|part| part as f32));
                let distance = ground.distance(bbox).unwrap();
                assert!((distance.value - ahead).abs() < 0.01, "{pitch_deg} {ahead} {distance:?}");
                let line = ground.horizon()[0] + ground.slope(right) * (y - ground.horizon()[1]);
                assert!((line - x).abs() < 0.01, "{pitch_deg} {right} {line} {x}");
            }
        }
    }

    #[test]
    fn points_above_the_horizon_have_no_distance() {
        let lens = Lens::HfovDeg(60.0);
        let calibration = Calibration { height_m: 1.3, pitch_deg: 0.0, yaw_deg: 0.0, lens, corridor_m: 2.0 };
        let ground = Ground::new(&calibration, SOURCE);
        for foot in [100.0, 360.0, 362.0] {
            assert_eq!(ground.distance(BBox::from([600.0, 50.0, 700.0, foot])), None, "{foot}");
        }
    }
}
