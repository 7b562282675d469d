//! Light and weather, and their effects on an image.

use crate::{RenderedFrame, random::Random};

/// The lighting and visibility of a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Brightness: 1 on a clear day.
    pub light: f64,
    /// Azimuth of the sun in degrees.
    pub sun_deg: f64,
    /// Fraction of the light that comes directly from the sun and not from the sky, 0 to 1.
    pub clear: f64,
    /// Extinction by fog, per meter: light is attenuated by exp(-fog * distance).
    pub fog: f64,
    /// Number of raindrops in an image of 640 by 360 pixels.
    pub rain: u32,
    /// Strength of the sensor's noise, in levels of 255. The noise is between -1.22 and 1.22 times this, and its
    /// standard deviation is about half of this.
    pub noise: f64,
}

impl Weather {
    pub const CLEAR: Self = Self { light: 1.0, sun_deg: 40.0, clear: 0.6, fog: 0.0008, rain: 0, noise: 2.0 };

    /// Returns the weather of a seed.
    pub fn of(seed: u64) -> Self {
        let chance = Random::new(seed).of("weather", 0);
        let wet = chance.is("wet", 0.25);
        let foggy = chance.is("foggy", 0.15);
        let dusk = chance.is("dusk", 0.25);
        let light =
            if dusk { chance.between("dusk light", 0.42, 0.7) } else { chance.between("light", 0.75, 1.15) };
        Self {
            light,
            sun_deg: chance.between("sun", 0.0, 360.0),
            clear: if wet || foggy { 0.15 } else { chance.between("clear", 0.2, 0.75) },
            fog: if foggy {
                chance.between("fog", 0.006, 0.014)
            } else {
                chance.between("haze", 0.0003, 0.002)
            },
            rain: if wet { chance.between("rain", 60.0, 260.0) as u32 } else { 0 },
            noise: chance.between("noise", 1.0, 4.0) + if dusk { 3.0 } else { 0.0 },
        }
    }

    /// Adds rain and sensor noise to the image of frame `n`.
    pub(crate) fn spoil(&self, frame: &mut RenderedFrame, chance: Random, n: u64) {
        let chance = chance.of("frame", n as i64);
        self.rain_on(frame, chance);
        let scale = self.noise * 1.22;
        let mut bits = 0;
        for (i, level) in frame.rgb.iter_mut().enumerate() {
            // One random number gives the noise of four bytes. The sum of two uniform values is close enough to a
            // normal distribution.
            if i % 4 == 0 {
                bits = chance.noise(i as u64);
            }
            let (a, b) = ((bits & 0xff) as f64, (bits >> 8 & 0xff) as f64);
            bits >>= 16;
            let noise = (a + b - 255.0) / 255.0 * scale;
            *level = (f64::from(*level) + noise).clamp(0.0, 255.0) as u8;
        }
    }

    fn rain_on(&self, frame: &mut RenderedFrame, chance: Random) {
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        let drops = self.rain as usize * width * height / (640 * 360);
        for drop in 0..drops {
            let of = chance.of("drop", drop as i64);
            let (x, y) = ((of.unit("x") * width as f64) as usize, (of.unit("y") * height as f64) as usize);
            let length = (of.between("length", 0.02, 0.06) * height as f64) as usize;
            for step in 0..length {
                let (row, column) = (y + step, x + step / 6);
                if row < height && column < width {
                    let at = (row * width + column) * 3;
                    for level in &mut frame.rgb[at..at + 3] {
                        *level = (u16::from(*level) * 3 / 4 + 55) as u8;
                    }
                }
            }
        }
    }
}
