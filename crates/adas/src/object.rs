//! One object before the vehicle: how fast it comes, where it will be then, how far it is.

use lookout_schema::{BBox, Detection};
use lookout_track::Closing;

use crate::{
    corridor::{Corridor, Place},
    drift::{Drift, Measured, normal},
    ground::Ground,
    growth::Growth,
    warning::{Danger, Warning},
};

/// How fast objects move across, in halves of the way's width a second, and by how much that changes within a second,
/// as standard deviations.
const ACROSS: f64 = 1.5;
const ACROSS_CHANGE: f64 = 0.4;

/// How fast objects come, in meters a second, and by how much that changes within a second.
const CLOSING_M_S: f64 = 20.0;
const CLOSING_CHANGE: f64 = 1.0;

/// An object is in the way where this part of its width is; less is what the way is wider than the vehicle.
const MIN_SHARE: f64 = 0.2;

/// Nobody keeps a course for longer.
const LOOK_AHEAD_S: f64 = 6.0;

/// How fast the width of an object follows its boxes.
const WIDTH_GAIN: f64 = 0.2;

/// An object that is followed.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) label: String,
    pub(crate) score: f32,
    /// Where it was seen last, whole or not.
    pub(crate) bbox: BBox,
    pub(crate) seen_s: f64,
    /// When its box was last a measure of it.
    pub(crate) measured_s: f64,
    pub(crate) warning: Warning,
    growth: Growth,
    closing: Option<Closing>,
    /// From the way's middle, in halves of its width.
    offset: Option<Drift>,
    half_width: f64,
    distance: Option<Drift>,
}

/// The vehicle's way in the camera's picture, and the ground, where that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) corridor: Corridor,
    pub(crate) ground: Option<Ground>,
}

impl Object {
    pub(crate) fn new(at_s: f64, label: String, bbox: BBox) -> Self {
        Self {
            label,
            score: 0.0,
            bbox,
            seen_s: at_s,
            measured_s: at_s,
            warning: Warning::default(),
            growth: Growth::default(),
            closing: None,
            offset: None,
            half_width: 0.0,
            distance: None,
        }
    }

    /// Takes a whole box of it; false where that is no measure of it.
    pub(crate) fn measure(&mut self, at_s: f64, bbox: BBox, view: &View) -> bool {
        let Some(closing) = self.growth.step(at_s, bbox) else { return false };
        let dt = (at_s - self.measured_s).max(0.0);
        self.measured_s = at_s;
        self.closing = Some(closing);
        match (view.corridor.place(bbox), &mut self.offset) {
            (Some(Place { offset, half_width }), Some(drift)) => {
                drift.step(dt, ACROSS_CHANGE, offset);
                self.half_width += WIDTH_GAIN * (half_width - self.half_width);
            }
            (Some(Place { offset, half_width }), none) => {
                *none = Some(Drift::new(offset, ACROSS));
                self.half_width = half_width;
            }
            (None, offset) => *offset = None,
        }
        match (view.ground.and_then(|ground| ground.distance(bbox)), &mut self.distance) {
            (Some(seen), Some(drift)) => drift.step(dt, CLOSING_CHANGE, seen),
            (Some(seen), none) => *none = Some(Drift::new(seen, CLOSING_M_S)),
            (None, distance) => *distance = None,
        }
        true
    }

    /// What is known of it, `age_s` after its frame was captured.
    pub(crate) fn danger(&self, age_s: f64) -> Option<Danger> {
        let closing = self.closing?;
        Some(Danger { closing, in_path: self.in_path(&closing), boxes: self.growth.boxes(), age_s })
    }

    /// How much a detection overlaps with where it is expected, as intersection over union; 0 of another kind.
    pub(crate) fn overlap(&self, at_s: f64, detection: &Detection) -> f64 {
        if detection.label != self.label {
            return 0.0;
        }
        let grown = self.closing.map_or(0.0, |closing| closing.rate * (at_s - self.seen_s));
        let scale = 1.0 / (1.0 - grown).clamp(0.4, 2.5);
        let [x1, y1, x2, y2] = <[f32; 4]>::from(self.bbox).map(f64::from);
        let (x, y, width, height) =
            ((x1 + x2) / 2.0, (y1 + y2) / 2.0, (x2 - x1) * scale / 2.0, (y2 - y1) * scale / 2.0);
        let expected = [x - width, y - height, x + width, y + height].map(|corner| corner as f32);
        BBox::from(expected).iou(detection.bbox)
    }

    pub(crate) fn closing(&self) -> Option<Closing> {
        self.closing
    }

    /// How far it is in meters, and how fast it comes nearer.
    pub(crate) fn distance(&self) -> Option<(f64, f64)> {
        self.distance.map(|drift| (drift.value(), -drift.rate()))
    }

    /// How probable it is that it will be in the way when it is here.
    fn in_path(&self, closing: &Closing) -> f64 {
        let Some(offset) = &self.offset else { return 0.0 };
        let here_in = closing.ttc_s.unwrap_or(LOOK_AHEAD_S).min(LOOK_AHEAD_S);
        let Measured { value, std } = offset.after(here_in);
        // It is not known when exactly it is here, either.
        let when = (closing.rate_std * here_in.powi(2)).min(here_in);
        let std = std.hypot(offset.rate() * when).max(f64::MIN_POSITIVE);
        let limit = 1.0 + (1.0 - 2.0 * MIN_SHARE) * self.half_width;
        normal((limit - value) / std) - normal((-limit - value) / std)
    }
}
