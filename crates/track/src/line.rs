//! Who crosses a line, and which way.

use std::collections::BTreeMap;

use lookout_schema::{LineDirection, Size};
use serde::{Deserialize, Serialize};

use crate::{MOST_OBJECTS, Track, TrackId, zone::foot};

/// An object that has crossed a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    pub id: TrackId,
    pub class_id: u32,
    pub direction: LineDirection,
    /// In seconds of the session.
    pub at_s: f64,
}

/// A line across a part of a camera's picture, by its ends in parts of the picture's width and height.
#[derive(Debug, Clone)]
pub struct Line {
    ends: [[f32; 2]; 2],
    /// How far off the line, in parts of the picture, an object has to be for its side to count: one that stands
    /// on the line and jitters does not cross it over and over.
    band: f32,
    state: LineState,
}

/// Where objects are to a [`Line`], to be saved and loaded; where it lies is not part of it, so that a changed
/// line takes effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LineState {
    /// Where each object was when its side last counted.
    was: BTreeMap<TrackId, Was>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Was {
    at: [f32; 2],
    last_s: f64,
}

/// Objects that were not seen for so long are forgotten.
const FORGET_S: f64 = 60.0;

/// No more objects than this are remembered; the oldest are forgotten first.
const MOST_REMEMBERED: usize = 16 * MOST_OBJECTS;

impl Line {
    pub fn new(ends: [[f32; 2]; 2], band: f32) -> Self {
        Self::resume(ends, band, LineState::default())
    }

    /// Goes on where a line was when its [`Self::state`] was saved.
    pub fn resume(ends: [[f32; 2]; 2], band: f32, state: LineState) -> Self {
        Self { ends, band, state }
    }

    pub fn state(&self) -> &LineState {
        &self.state
    }

    /// Takes a frame's tracks, at `at_s` seconds of the session, and gives who has crossed since. A
    /// time that is no number is passed over.
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
        while self.state.was.len() > MOST_REMEMBERED {
            self.state.was.pop_first();
        }
        crossings
    }

    /// How far a point is off the line without its ends: above 0 to the right of one who looks along it, since y
    /// grows downwards.
    fn off(&self, [x, y]: [f32; 2]) -> f32 {
        let [[x1, y1], [x2, y2]] = self.ends;
        let (along_x, along_y) = (x2 - x1, y2 - y1);
        (along_x * (y - y1) - along_y * (x - x1)) / along_x.hypot(along_y)
    }

    /// Whether the way from one point to another, which meets the line, meets it between its ends.
    fn within_ends(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        let way = Self::new([from, to], 0.0);
        (way.off(self.ends[0]) > 0.0) != (way.off(self.ends[1]) > 0.0)
    }
}
