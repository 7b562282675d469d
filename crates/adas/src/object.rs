//! The state of one object ahead of the vehicle: closing speed, position at the time of collision, and
//! distance.

use lookout_schema::{BBox, Detection};
use lookout_track::TtcEstimate;

use crate::{
    corridor::{Corridor, Place},
    expansion_rate::ExpansionRate,
    ground::Ground,
    linear_estimate::{LinearEstimate, Measured, normal},
    warning::{Threat, Warning},
};

/// Priors of the lateral motion, as standard deviations: the speed in half corridor widths per second, and
/// its change within a second.
const ACROSS: f64 = 1.5;
const ACROSS_CHANGE: f64 = 0.4;

/// Priors of the approach, as standard deviations: the closing speed in m/s, and its change within a second.
const CLOSING_M_S: f64 = 20.0;
const CLOSING_CHANGE: f64 = 1.0;

/// The fraction of an object's width that must be inside the corridor for the object to be in path. A smaller
/// overlap is the margin by which the corridor is wider than the vehicle.
const MIN_SHARE: f64 = 0.2;

/// The maximum prediction time, because no object keeps its course for longer.
const LOOK_AHEAD_S: f64 = 6.0;

/// The smoothing gain of an object's width, per box.
const WIDTH_GAIN: f64 = 0.2;

/// A tracked object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) label: String,
    pub(crate) score: f32,
    /// The last detected box, truncated or not.
    pub(crate) bbox: BBox,
    pub(crate) seen_s: f64,
    /// When its box was last a valid measurement, in seconds of the session.
    pub(crate) measured_s: f64,
    pub(crate) warning: Warning,
    growth: ExpansionRate,
    closing: Option<TtcEstimate>,
    /// The lateral offset from the corridor's center line, in half corridor widths.
    offset: Option<LinearEstimate>,
    half_width: f64,
    distance: Option<LinearEstimate>,
}

/// The vehicle's corridor in the camera's image, and the ground plane if the camera is calibrated.
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
            growth: ExpansionRate::default(),
            closing: None,
            offset: None,
            half_width: 0.0,
            distance: None,
        }
    }

    /// Updates the state with a complete box. Returns `false` if the box is not a valid measurement.
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
                *none = Some(LinearEstimate::new(offset, ACROSS));
                self.half_width = half_width;
            }
            (None, offset) => *offset = None,
        }
        match (view.ground.and_then(|ground| ground.distance(bbox)), &mut self.distance) {
            (Some(seen), Some(drift)) => drift.step(dt, CLOSING_CHANGE, seen),
            (Some(seen), none) => *none = Some(LinearEstimate::new(seen, CLOSING_M_S)),
            (None, distance) => *distance = None,
        }
        true
    }

    /// Returns the threat estimate, `age_s` seconds after the frame was captured.
    pub(crate) fn danger(&self, age_s: f64) -> Option<Threat> {
        let closing = self.closing?;
        Some(Threat { closing, in_path: self.in_path(&closing), boxes: self.growth.boxes(), age_s })
    }

    /// Returns the overlap (IoU) of a detection with the predicted box; 0 for another label.
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

    pub(crate) fn closing(&self) -> Option<TtcEstimate> {
        self.closing
    }

    /// Returns the distance in meters and the closing speed in m/s.
    pub(crate) fn distance(&self) -> Option<(f64, f64)> {
        self.distance.map(|drift| (drift.value(), -drift.rate()))
    }

    /// Returns the probability that the object is in path at the time of collision.
    fn in_path(&self, closing: &TtcEstimate) -> f64 {
        let Some(offset) = &self.offset else { return 0.0 };
        let here_in = closing.ttc_s.unwrap_or(LOOK_AHEAD_S).min(LOOK_AHEAD_S);
        let Measured { value, std } = offset.after(here_in);
        // The time of collision is uncertain, too.
        let when = (closing.rate_std * here_in.powi(2)).min(here_in);
        let std = std.hypot(offset.rate() * when).max(f64::MIN_POSITIVE);
        let limit = 1.0 + (1.0 - 2.0 * MIN_SHARE) * self.half_width;
        normal((limit - value) / std) - normal((-limit - value) / std)
    }
}
