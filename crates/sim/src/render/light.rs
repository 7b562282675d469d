//! The color of a surface in the light and through the air.

use crate::{Weather, camera::dot};

#[derive(Debug)]
pub(super) struct Light {
    weather: Weather,
    sun: [f64; 3],
    pub(super) air: [u8; 3],
}

impl Light {
    pub(super) fn new(weather: Weather) -> Self {
        let (sin, cos) = weather.sun_deg.to_radians().sin_cos();
        let sun = [sin * 0.7, cos * 0.7, 0.714];
        let bright = |level: f64| (level * weather.light).clamp(0.0, 255.0) as u8;
        Self { weather, sun, air: [bright(196.0), bright(203.0), bright(212.0)] }
    }

    /// Returns a color on a surface with this normal at a distance of `far_m` meters. Without a normal, the surface is
    /// lit evenly.
    pub(super) fn on(&self, color: [u8; 3], normal: Option<[f64; 3]>, far_m: f64) -> [u8; 3] {
        let lit = normal.map_or(0.85, |normal| {
            let sky = 0.55 + 0.25 * normal[2].max(0.0);
            sky * (1.0 - 0.35 * self.weather.clear)
                + 0.8 * self.weather.clear * dot(normal, self.sun).max(0.0)
        });
        let kept = (-self.weather.fog * far_m).exp();
        let mut seen = [0; 3];
        for ((seen, color), air) in seen.iter_mut().zip(color).zip(self.air) {
            let level = f64::from(color) * lit * self.weather.light;
            *seen = (level * kept + f64::from(air) * (1.0 - kept)).clamp(0.0, 255.0) as u8;
        }
        seen
    }
}
