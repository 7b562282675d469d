//! Synthetic scenes with ground truth. They share the detector, which misses 10 % of the visible objects and
//! has a jitter of 2 pixels, and objects that are hidden for up to a second.

use std::ops::Range;

use lookout_schema::{BBox, Size};
use lookout_track::Observation;
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(crate) const OBJECTS: usize = 20;
pub(crate) const FPS: f64 = 10.0;
pub(crate) const MISSED: f64 = 0.1;
const JITTER_PX: f32 = 2.0;

#[derive(Default)]
pub(crate) struct SeenFrame {
    /// Every object in the image, and the objects that a person could see.
    pub(crate) all: Vec<(usize, BBox)>,
    pub(crate) visible: Vec<(usize, BBox)>,
    pub(crate) detections: Vec<Observation>,
}

/// Normal jitter with a standard deviation of 2 pixels: the sum of twelve uniform numbers.
fn jitter(random: &mut StdRng) -> f32 {
    JITTER_PX * ((0..12).map(|_| random.random_range(0.0..1.0_f32)).sum::<f32>() - 6.0)
}

/// Applies independent jitter to each side.
pub(crate) fn at_sides(bbox: BBox, random: &mut StdRng) -> BBox {
    BBox::from(<[f32; 4]>::from(bbox).map(|side| side + jitter(random)))
}

/// Returns the fraction of a box that another one covers.
pub(crate) fn covered(of: BBox, by: BBox) -> f32 {
    let width = (of.x2.min(by.x2) - of.x1.max(by.x1)).max(0.0);
    let height = (of.y2.min(by.y2) - of.y1.max(by.y1)).max(0.0);
    width * height / ((of.x2 - of.x1) * (of.y2 - of.y1))
}

/// What hides objects.
#[derive(Clone, Copy)]
enum Hides {
    /// Random: for part of a second, some seconds after the last time.
    Chance,
    /// Objects that are drawn later and cover most of it.
    Others,
}

/// A scene in which objects move freely.
#[derive(Clone)]
pub(crate) struct World {
    source: Size,
    frames: usize,
    /// Sizes in pixels, and speeds in pixels per second.
    sizes: Range<f32>,
    speeds: Range<f32>,
    /// The standard deviation of the change of a speed within a second.
    speed_change: f32,
    hides: Hides,
    /// Whether an object that reaches the border leaves and another one enters; otherwise it bounces off.
    leaves: bool,
    scores: Range<f32>,
    false_alarms: f64,
    jitter: fn(BBox, &mut StdRng) -> BBox,
    /// Whether boxes end at the border, also those of the ground truth.
    clipped: bool,
}

struct Thing {
    id: usize,
    at: [f32; 2],
    velocity: [f32; 2],
    size: [f32; 2],
    hidden: Range<f64>,
}

/// Constant velocities, borders that reflect, and objects that are hidden at random.
pub(crate) fn bouncing() -> World {
    World {
        source: Size { width: 1280, height: 720 },
        frames: 400,
        sizes: 40.0..120.0,
        speeds: 30.0..200.0,
        speed_change: 0.0,
        hides: Hides::Chance,
        leaves: false,
        scores: 0.9..0.901,
        false_alarms: 0.0,
        jitter: at_sides,
        clipped: false,
    }
}

/// Varying speeds, a larger image, objects that occlude each other, low scores and false positives.
pub(crate) fn wandering() -> World {
    World {
        source: Size { width: 1920, height: 1080 },
        sizes: 50.0..200.0,
        speeds: 20.0..150.0,
        speed_change: 50.0,
        hides: Hides::Others,
        scores: 0.5..1.0,
        false_alarms: 0.1,
        ..bouncing()
    }
}

/// Objects that enter at one border and leave at another.
pub(crate) fn passing() -> World {
    World { leaves: true, scores: 0.5..1.0, ..bouncing() }
}

/// The same as in real detections, where objects enter and leave.
pub(crate) fn cut() -> World {
    World { clipped: true, ..passing() }
}

impl Thing {
    fn new(world: &World, id: usize, random: &mut StdRng) -> Self {
        let border = [world.source.width, world.source.height].map(|side| side as f32 - 60.0);
        let at = border.map(|border| random.random_range(60.0..border));
        let speed = random.random_range(world.speeds.clone());
        let angle = random.random_range(0.0..std::f32::consts::TAU);
        let size = [0, 1].map(|_| random.random_range(world.sizes.clone()));
        let velocity = [speed * angle.cos(), speed * angle.sin()];
        let mut thing = Self { id, at, velocity, size, hidden: 0.0..0.0 };
        thing.hide(0.0, random);
        thing
    }

    fn is_at_border(&self, world: &World) -> bool {
        let [x, y] = self.at;
        !((0.0..=world.source.width as f32).contains(&x) && (0.0..=world.source.height as f32).contains(&y))
    }

    /// Places the object at a border, moving inwards.
    fn enter(&mut self, world: &World, now_s: f64, random: &mut StdRng) {
        let axis = usize::from(random.random_bool(0.4));
        let far = random.random_bool(0.5);
        let side = [world.source.width, world.source.height][axis] as f32;
        self.at[axis] = if far { side } else { 0.0 };
        self.velocity[axis] = self.velocity[axis].abs().max(20.0) * if far { -1.0 } else { 1.0 };
        self.hide(now_s, random);
    }

    /// Draws when the object is hidden next.
    fn hide(&mut self, now_s: f64, random: &mut StdRng) {
        let from = now_s + random.random_range(1.0..7.0);
        self.hidden = from..from + random.random_range(0.2..1.0);
    }

    fn go(&mut self, world: &World, random: &mut StdRng) {
        let dt = 1.0 / FPS as f32;
        for axis in [0, 1] {
            let inset = self.size[axis] / 2.0;
            let border = [world.source.width, world.source.height][axis] as f32 - inset;
            self.velocity[axis] += jitter(random) / JITTER_PX * world.speed_change * dt.sqrt();
            let fastest = 1.5 * world.speeds.end;
            self.velocity[axis] = self.velocity[axis].clamp(-fastest, fastest);
            self.at[axis] += self.velocity[axis] * dt;
            let inward = if self.at[axis] < inset { 1.0 } else { -1.0 };
            if !world.leaves && !(inset..=border).contains(&self.at[axis]) {
                self.at[axis] = self.at[axis].clamp(inset, border);
                self.velocity[axis] = self.velocity[axis].abs() * inward;
            }
        }
    }

    fn bbox(&self) -> BBox {
        let ([x, y], [width, height]) = (self.at, self.size);
        BBox::from([x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0])
    }
}

impl World {
    pub(crate) fn source(&self) -> Size {
        self.source
    }

    pub(crate) fn sequence(&self, seed: u64) -> Vec<SeenFrame> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut things: Vec<Thing> = (0..OBJECTS).map(|id| Thing::new(self, id, &mut random)).collect();
        let mut ids = OBJECTS..;
        let mut frames = Vec::new();
        for number in 0..self.frames {
            let now_s = number as f64 / FPS;
            for thing in &mut things {
                thing.go(self, &mut random);
                if self.leaves && thing.is_at_border(self) {
                    *thing = Thing::new(self, ids.next().unwrap_or_default(), &mut random);
                    thing.enter(self, now_s, &mut random);
                }
            }
            let boxes: Vec<BBox> = things.iter().map(|thing| self.cut(thing.bbox())).collect();
            let mut frame = SeenFrame::default();
            for id in 0..OBJECTS {
                frame.all.push((things[id].id, boxes[id]));
                let by_others = matches!(self.hides, Hides::Others);
                if self.hidden(&things[id], boxes[id], &boxes[id + 1..], now_s) {
                    // An object that others cover is shown again after a second.
                    if !by_others || now_s - things[id].hidden.end < 1.0 {
                        continue;
                    }
                } else if by_others {
                    things[id].hidden.end = now_s;
                }
                if let (true, Hides::Chance) = (now_s > things[id].hidden.end, self.hides) {
                    things[id].hide(now_s, &mut random);
                }
                frame.visible.push((things[id].id, boxes[id]));
                if !random.random_bool(MISSED) {
                    let score = random.random_range(self.scores.clone());
                    let bbox = self.cut((self.jitter)(boxes[id], &mut random));
                    frame.detections.push(Observation { bbox, class_id: 1, score });
                }
            }
            if random.random_bool(self.false_alarms) {
                let x = random.random_range(0.0..self.source.width as f32 - 80.0);
                let y = random.random_range(0.0..self.source.height as f32 - 80.0);
                let bbox = BBox::from([x, y, x + 80.0, y + 80.0]);
                frame.detections.push(Observation { bbox, class_id: 1, score: self.scores.start + 0.1 });
            }
            frames.push(frame);
        }
        frames
    }

    fn cut(&self, bbox: BBox) -> BBox {
        if self.clipped { bbox.clipped(self.source).unwrap_or(bbox) } else { bbox }
    }

    fn hidden(&self, thing: &Thing, bbox: BBox, nearer: &[BBox], now_s: f64) -> bool {
        match self.hides {
            Hides::Chance => thing.hidden.contains(&now_s),
            Hides::Others => nearer.iter().any(|by| covered(bbox, *by) > 0.6),
        }
    }
}
