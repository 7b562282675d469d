//! Who crosses a line, and which way.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use lookout_schema::Size;

use crate::{Track, TrackId, zone::foot};

/// Which way a line is crossed, as seen by one who looks from its first point to its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    LeftToRight,
    RightToLeft,
}

/// An object that has crossed a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    pub id: TrackId,
    pub class_id: u32,
    pub direction: Direction,
    /// In seconds of the session.
    pub at_s: f64,
}

/// A line across a part of a camera's picture, by its ends in parts of the picture's width and height.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    ends: [[f32; 2]; 2],
    /// How far off the line, in parts of the picture, an object has to be for its side to count: one that stands
    /// on the line and jitters does not cross it over and over.
    band: f32,
    /// Where each object was when its side last counted.
    was: BTreeMap<TrackId, Was>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Was {
    at: [f32; 2],
    last_s: f64,
}

/// Objects that were not seen for so long are forgotten.
const FORGET_S: f64 = 60.0;

impl Line {
    pub fn new(ends: [[f32; 2]; 2], band: f32) -> Self {
        Self { ends, band, was: BTreeMap::new() }
    }

    /// Takes a frame's tracks, at `at_s` seconds of the session, and gives who has crossed since.
    pub fn step(&mut self, at_s: f64, source: Size, tracks: &[Track]) -> Vec<Crossing> {
        let mut crossings = Vec::new();
        for track in tracks {
            let at = foot(track.bbox, source);
            let off = self.off(at);
            if off.abs() < self.band || !off.is_finite() {
                continue;
            }
            let before = self.was.insert(track.id, Was { at, last_s: at_s });
            let Some(before) = before.map(|was| was.at) else { continue };
            let sides = (self.off(before) > 0.0, off > 0.0);
            if sides.0 != sides.1 && self.within_ends(before, at) {
                let direction = if sides.1 { Direction::LeftToRight } else { Direction::RightToLeft };
                crossings.push(Crossing { id: track.id, class_id: track.class_id, direction, at_s });
            }
        }
        self.was.retain(|_, was| at_s - was.last_s <= FORGET_S);
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
