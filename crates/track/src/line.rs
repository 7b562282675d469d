//! Detection of line crossings and their direction.

use std::collections::BTreeMap;

use lookout_schema::{LineDirection, Size};
use serde::{Deserialize, Serialize};

use crate::{MAX_OBJECTS, Track, TrackId, zone::foot};

/// An object's passage over a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// The object's track.
    pub id: TrackId,
    /// The object's class.
    pub class_id: u32,
    /// The direction of the crossing.
    pub direction: LineDirection,
    /// Time of the crossing, in seconds of the session.
    pub at_s: f64,
}

/// A line segment in a camera's image, given by its two ends as fractions of the image's width and height.
#[derive(Debug, Clone)]
pub struct Line {
    ends: [[f32; 2]; 2],
    /// The minimum distance from the line, as a fraction of the image, at which an object's side counts.
    /// Without it, an object that stands on the line would cross it repeatedly because of jitter.
    band: f32,
    state: LineState,
}

/// The serializable state of a [`Line`]: the last known side of each object. The line's ends are not part of
/// it, so that a changed line takes effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LineState {
    /// Each object's last position outside the band around the line.
    was: BTreeMap<TrackId, Was>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Was {
    at: [f32; 2],
    last_s: f64,
}

/// The time after which an undetected object is forgotten.
const FORGET_S: f64 = 60.0;

/// The maximum number of remembered objects. Objects with the lowest ids are forgotten first.
const MAX_REMEMBERED: usize = 16 * MAX_OBJECTS;

impl Line {
    /// Creates a line from `ends[0]` to `ends[1]`. An object's side counts only at a distance of at least `band`
    /// from the line. All are fractions of the image's width and height.
    pub fn new(ends: [[f32; 2]; 2], band: f32) -> Self {
        Self::resume(ends, band, LineState::default())
    }

    /// Restores a line from its saved [`Self::state`].
    pub fn resume(ends: [[f32; 2]; 2], band: f32, state: LineState) -> Self {
        Self { ends, band, state }
    }

    /// Returns the serializable state, for [`Self::resume`].
    pub fn state(&self) -> &LineState {
        &self.state
    }

    /// Processes the tracks of the frame at `at_s` seconds of the session, and returns the crossings since
    /// the last call. A time that is not finite is ignored.
    pub fn step(&mut self, at_s: f64, source: Size, tracks: &[Track]) -> Vec<Crossing> {
        let mut crossings = Vec::new();
        if !at_s.is_finite() {
            return crossings;
        }
        for track in tracks {
            let at = foot(track.bbox, source);
            let off = self.off(at);
            if off.abs() < self.band || !off.is_finite() {
                continue;
            }
            let before = self.state.was.insert(track.id, Was { at, last_s: at_s });
            let Some(before) = before.map(|was| was.at) else { continue };
            let sides = (self.off(before) > 0.0, off > 0.0);
            if sides.0 != sides.1 && self.within_ends(before, at) {
                let direction = if sides.1 { LineDirection::LeftToRight } else { LineDirection::RightToLeft };
                crossings.push(Crossing { id: track.id, class_id: track.class_id, direction, at_s });
            }
        }
        self.state.was.retain(|_, was| (at_s - was.last_s).abs() <= FORGET_S);
        while self.state.was.len() > MAX_REMEMBERED {
            self.state.was.pop_first();
        }
        crossings
    }

    /// Returns the signed distance of a point from the infinite line. It is positive to the right of the
    /// line's direction, because y grows downwards.
    fn off(&self, [x, y]: [f32; 2]) -> f32 {
        let [[x1, y1], [x2, y2]] = self.ends;
        let (along_x, along_y) = (x2 - x1, y2 - y1);
        (along_x * (y - y1) - along_y * (x - x1)) / along_x.hypot(along_y)
    }

    /// Returns whether the path between two points on different sides of the line meets it between its ends.
    fn within_ends(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        let way = Self::new([from, to], 0.0);
        (way.off(self.ends[0]) > 0.0) != (way.off(self.ends[1]) > 0.0)
    }
}
