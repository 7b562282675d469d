//! Tracking sequences with ground truth: the file formats of MOTChallenge and KITTI, and the rules by which they
//! ignore objects.

mod kitti;
mod mot_challenge;

use std::collections::{BTreeMap, BTreeSet};

use lookout_schema::{BBox, Size};

pub use self::{
    kitti::read_kitti,
    mot_challenge::{MotFiles, read_mot_challenge},
};
use crate::{Tracked, tracking::best_matches};

/// Minimum IoU at which a track matches an object that is ignored.
const MIN_IOU: f64 = 0.5;

/// The part of an unmatched track's box inside an ignored region above which the track is ignored.
const MAX_COVERED: f64 = 0.5;

/// A sequence of frames with detections and ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackingSequence {
    pub name: String,
    /// Frames per second.
    pub fps: f64,
    pub source: Size,
    pub frames: Vec<SequenceFrame>,
    /// Height in pixels up to which tracks that match no object are ignored.
    pub ignored_height: f32,
}

/// The detections and the ground truth of one frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SequenceFrame {
    pub detections: Vec<SequenceDetection>,
    pub objects: Vec<SequenceObject>,
    /// Regions in which tracks that match no object are ignored.
    pub ignored: Vec<BBox>,
}

/// A detection of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceDetection {
    pub bbox: BBox,
    pub score: f32,
}

/// A ground-truth object in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceObject {
    pub id: u64,
    pub bbox: BBox,
    pub role: ObjectRole,
}

/// How a ground-truth object is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectRole {
    /// A miss is a false negative.
    Evaluated,
    /// The object is not evaluated, and a track that matches it is ignored.
    Distractor,
    /// The object is not evaluated, but a track that matches it is a false positive unless the benchmark
    /// matches it before the object is removed.
    Removed,
}

/// Why a file of a sequence is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct InvalidSequence {
    /// Line number from 1.
    pub line: usize,
    pub reason: String,
}

impl TrackingSequence {
    /// Returns the frame at `index`. Adds empty frames up to it if the sequence is shorter.
    fn frame_mut(&mut self, index: usize) -> &mut SequenceFrame {
        let length = self.frames.len().max(index + 1);
        self.frames.resize(length, SequenceFrame::default());
        &mut self.frames[index]
    }

    /// Returns the ground truth of a frame and those of the tracks `found` in it that are evaluated.
    pub fn evaluated(&self, frame: &SequenceFrame, found: &[Tracked]) -> (Vec<Tracked>, Vec<Tracked>) {
        let wanted = frame.objects.iter().filter(|object| object.role == ObjectRole::Evaluated);
        let truth = wanted.map(|object| Tracked { id: object.id, bbox: object.bbox }).collect();
        let is_plain = frame.ignored.is_empty()
            && self.ignored_height <= 0.0
            && frame.objects.iter().all(|object| object.role != ObjectRole::Distractor);
        if is_plain {
            return (truth, found.to_vec());
        }
        let all: Vec<Tracked> =
            frame.objects.iter().map(|object| Tracked { id: object.id, bbox: object.bbox }).collect();
        let matches: BTreeMap<u64, u64> =
            best_matches(&all, found, MIN_IOU).into_iter().map(|(object, track)| (track, object)).collect();
        let distractors: BTreeSet<u64> = frame
            .objects
            .iter()
            .filter(|object| object.role == ObjectRole::Distractor)
            .map(|object| object.id)
            .collect();
        let is_evaluated = |track: &Tracked| match matches.get(&track.id) {
            Some(object) => !distractors.contains(object),
            None => {
                let is_small = track.bbox.y2 - track.bbox.y1 <= self.ignored_height;
                !is_small && !frame.ignored.iter().any(|region| covered(track.bbox, *region) > MAX_COVERED)
            }
        };
        (truth, found.iter().filter(|track| is_evaluated(track)).copied().collect())
    }
}

/// Returns the part of a box that is inside a region.
fn covered(bbox: BBox, region: BBox) -> f64 {
    let side = |low: f32, high: f32| f64::from((high - low).max(0.0));
    let both = side(bbox.x1.max(region.x1), bbox.x2.min(region.x2))
        * side(bbox.y1.max(region.y1), bbox.y2.min(region.y2));
    let area = side(bbox.x1, bbox.x2) * side(bbox.y1, bbox.y2);
    if area > 0.0 { both / area } else { 0.0 }
}

/// The fields of one line, with error messages that name it.
#[derive(Debug)]
struct Fields<'a> {
    line: usize,
    fields: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Returns the lines of a file that are not empty, split into fields.
    fn all(text: &'a str, split: fn(&'a str) -> Vec<&'a str>) -> impl Iterator<Item = Self> {
        let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
        lines.map(move |(line, text)| Self { line, fields: split(text) })
    }

    fn error(&self, reason: impl Into<String>) -> InvalidSequence {
        InvalidSequence { line: self.line, reason: reason.into() }
    }

    fn text(&self, index: usize) -> Result<&'a str, InvalidSequence> {
        let missing = || format!("{} fields, but field {} is required", self.fields.len(), index + 1);
        self.fields.get(index).copied().ok_or_else(|| self.error(missing()))
    }

    fn number(&self, index: usize) -> Result<f32, InvalidSequence> {
        let text = self.text(index)?;
        let number = text.trim().parse::<f32>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.error(format!("field {} is `{text}`, not a number", index + 1)))
    }

    /// Returns a whole number of at least 0, which may be written like `1.0`.
    fn whole(&self, index: usize) -> Result<u64, InvalidSequence> {
        let number = self.text(index)?.trim().parse::<f64>().ok();
        let whole = number.filter(|n| (0.0..1e15).contains(n) && n.fract() == 0.0).map(|n| n as u64);
        whole.ok_or_else(|| {
            self.error(format!("field {} is `{}`, not a whole number", index + 1, self.fields[index]))
        })
    }
}
