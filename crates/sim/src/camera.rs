//! A pinhole camera over flat ground.
//!
//! World coordinates are meters: x to the right, y ahead along the road, z up. A camera looks along its yaw, where 0 is
//! along y and positive is to the right, with its pitch downward.

use lookout_schema::Size;

/// The pose and field of view of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    pub at: [f64; 3],
    pub yaw_deg: f64,
    /// Positive is downward.
    pub pitch_deg: f64,
    /// Horizontal field of view.
    pub hfov_deg: f64,
}

/// The projection of a camera to an image of a given size.
#[derive(Debug, Clone, Copy)]
pub struct View {
    at: [f64; 3],
    right: [f64; 3],
    down: [f64; 3],
    ahead: [f64; 3],
    /// Focal length in pixels.
    focal: f64,
    pub(crate) size: Size,
}

/// Near clipping plane: closer points are not drawn, in meters.
pub(crate) const NEAR: f64 = 0.3;

impl Camera {
    pub fn view(&self, size: Size) -> View {
        let (yaw_sin, yaw_cos) = self.yaw_deg.to_radians().sin_cos();
        let (pitch_sin, pitch_cos) = self.pitch_deg.to_radians().sin_cos();
        let ahead = [yaw_sin * pitch_cos, yaw_cos * pitch_cos, -pitch_sin];
        let right = [yaw_cos, -yaw_sin, 0.0];
        let down = [-yaw_sin * pitch_sin, -yaw_cos * pitch_sin, -pitch_cos];
        let focal = f64::from(size.width) / 2.0 / (self.hfov_deg.to_radians() / 2.0).tan();
        View { at: self.at, right, down, ahead, focal, size }
    }
}

impl View {
    /// Converts a point from world to camera coordinates: to the right, down and ahead, in meters.
    pub(crate) fn local(&self, point: [f64; 3]) -> [f64; 3] {
        let off = sub(point, self.at);
        [dot(off, self.right), dot(off, self.down), dot(off, self.ahead)]
    }

    /// Projects a point in front of the camera, in camera coordinates, to pixels.
    pub(crate) fn project(&self, [right, down, ahead]: [f64; 3]) -> [f32; 2] {
        let scale = self.focal / ahead;
        let x = f64::from(self.size.width) / 2.0 + right * scale;
        let y = f64::from(self.size.height) / 2.0 + down * scale;
        [x as f32, y as f32]
    }

    /// Returns the row of the horizon, in pixels.
    pub(crate) fn horizon(&self) -> f32 {
        let far = 1e6;
        let flat = [self.ahead[0], self.ahead[1], 0.0];
        let point = [self.at[0] + flat[0] * far, self.at[1] + flat[1] * far, self.at[2]];
        self.project(self.local(point))[1]
    }

    pub(crate) fn position(&self) -> [f64; 3] {
        self.at
    }
}

pub(crate) fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_right_points_right_and_near_points_low() {
        let size = Size { width: 640, height: 360 };
        let view = Camera { at: [0.0, 0.0, 5.0], yaw_deg: 0.0, pitch_deg: 10.0, hfov_deg: 60.0 }.view(size);
        let seen = |point| view.project(view.local(point));
        assert!((seen([0.0, 20.0, 0.0])[0] - 320.0).abs() < 1e-3);
        assert!(seen([2.0, 20.0, 0.0])[0] > 330.0);
        assert!(seen([0.0, 10.0, 0.0])[1] > seen([0.0, 30.0, 0.0])[1]);
        assert!(seen([0.0, 1e5, 0.0])[1] - view.horizon() < 1.0);
        // The center of the image is 10 degrees below the horizon.
        let focal = 320.0 / 30f64.to_radians().tan();
        assert!((f64::from(view.horizon()) - (180.0 - focal * 10f64.to_radians().tan())).abs() < 0.5);
    }
}
