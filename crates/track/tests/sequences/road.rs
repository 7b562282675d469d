//! A crowded road: pedestrians at all distances walk along it in both directions and cross each other. When
//! one leaves the image, another enters. Nearer pedestrians occlude those behind them, and pillars occlude
//! all. The detector gives partly occluded objects low scores, and reports false positives now and then.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lookout_schema::BBox;
use lookout_track::Observation;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::worlds::{FPS, MISSED, OBJECTS, SeenFrame, at_sides, covered};

const WIDTH: f32 = 1280.0;
const HEIGHT: f32 = 720.0;
const FRAMES: usize = 600;
const PILLARS: [[f32; 2]; 2] = [[380.0, 440.0], [840.0, 900.0]];

struct Walker {
    id: usize,
    hidden_frames: usize,
    /// The position of the foot.
    at: [f32; 2],
    velocity: [f32; 2],
}

impl Walker {
    /// Creates a pedestrian anywhere in the image, or at its left or right border.
    fn new(random: &mut StdRng, id: usize, enters: bool) -> Self {
        let right = random.random_bool(0.5);
        let border = if right { 0.0 } else { WIDTH };
        let x = if enters { border } else { random.random_range(60.0..WIDTH - 60.0) };
        let speed = random.random_range(40.0..140.0) * if right { 1.0 } else { -1.0 };
        let velocity = [speed, random.random_range(-12.0..12.0)];
        Self { id, hidden_frames: 0, at: [x, random.random_range(300.0..HEIGHT)], velocity }
    }

    fn walk(&mut self, random: &mut StdRng, dt: f32) {
        for axis in [0, 1] {
            self.velocity[axis] += random.random_range(-1.0..1.0) * 60.0 * dt;
            self.at[axis] += self.velocity[axis] * dt;
        }
        // Pedestrians stay on the road.
        let off = (330.0 - self.at[1]).max(0.0) - (self.at[1] - HEIGHT + 30.0).max(0.0);
        self.velocity[1] += (4.0 * off - 0.5 * self.velocity[1]) * dt;
    }

    fn has_left(&self) -> bool {
        !(0.0..=WIDTH).contains(&self.at[0])
    }

    /// The box is larger if the pedestrian is nearer.
    fn bbox(&self) -> BBox {
        let height = 60.0 + (self.at[1] - 300.0) * 0.25;
        let width = height * 0.45;
        BBox::from([self.at[0] - width / 2.0, self.at[1] - height, self.at[0] + width / 2.0, self.at[1]])
    }
}

pub(crate) fn sequence(seed: u64) -> Vec<SeenFrame> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut walkers: Vec<Walker> = (0..OBJECTS).map(|id| Walker::new(&mut random, id, false)).collect();
    let mut ids = OBJECTS..;
    let mut frames = Vec::new();
    for _ in 0..FRAMES {
        for walker in &mut walkers {
            walker.walk(&mut random, 1.0 / FPS as f32);
            if walker.has_left() {
                *walker = Walker::new(&mut random, ids.next().unwrap(), true);
            }
        }
        let boxes: Vec<BBox> = walkers.iter().map(Walker::bbox).collect();
        let feet: Vec<f32> = walkers.iter().map(|walker| walker.at[1]).collect();
        let hidden = |i: usize| {
            let nearer = (0..OBJECTS).filter(|j| feet[*j] > feet[i]);
            let by_others = nearer.map(|j| covered(boxes[i], boxes[j])).fold(0.0, f32::max);
            let pillars = PILLARS.map(|[x1, x2]| covered(boxes[i], BBox::from([x1, 0.0, x2, HEIGHT])));
            pillars.into_iter().fold(by_others, f32::max)
        };
        let mut frame = SeenFrame::default();
        for (i, bbox) in boxes.iter().enumerate() {
            let hidden = hidden(i);
            // Hidden for a second at most; then the pedestrian is visible again.
            frame.all.push((walkers[i].id, *bbox));
            if hidden > 0.7 && walkers[i].hidden_frames < FPS as usize {
                walkers[i].hidden_frames += 1;
                continue;
            }
            if hidden < 0.4 {
                walkers[i].hidden_frames = 0;
            }
            frame.visible.push((walkers[i].id, *bbox));
            if random.random_bool(MISSED) {
                continue;
            }
            let bbox = at_sides(*bbox, &mut random);
            let score =
                if hidden > 0.4 { random.random_range(0.15..0.5) } else { random.random_range(0.55..0.98) };
            frame.detections.push(Observation { bbox, class_id: 1, score });
        }
        if random.random_bool(0.05) {
            let (x, y) = (random.random_range(0.0..WIDTH), random.random_range(0.0..HEIGHT));
            let bbox = BBox::from([x, y, x + 40.0, y + 90.0]);
            frame.detections.push(Observation { bbox, class_id: 1, score: random.random_range(0.5..0.7) });
        }
        frames.push(frame);
    }
    frames
}
