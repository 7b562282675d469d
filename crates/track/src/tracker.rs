//! Objects followed from frame to frame.
//!
//! Association by overlap with where each object is expected, the sure detections first and then the unsure
//! ones, which bring back what is half hidden: Zhang et al., ByteTrack, 2021
//! (<https://arxiv.org/abs/2110.06864>). Unlike there, an object's motion is a matter of seconds, not of frames.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

use crate::{
    TrackerSettings,
    assignment::{Candidate, assign},
    motion::Motion,
};

/// A track's number, from 1; no two tracks of a session have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u64);

/// One detection, as the tracker needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    pub bbox: BBox,
    /// Only detections of a class are one object.
    pub class_id: u32,
    /// 0 to 1.
    pub score: f32,
}

/// An object that is followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub id: TrackId,
    pub class_id: u32,
    /// Where it was seen, or, where `seen` is not of this frame, where it is expected.
    pub bbox: BBox,
    /// Of the box's centre, in pixels a second.
    pub velocity: [f32; 2],
    /// Of the detection that it was last matched with.
    pub score: f32,
    /// Which of the frame's observations it is; none where it is expected only.
    pub seen: Option<usize>,
    /// When it was first and last seen, in seconds of the session.
    pub first_s: f64,
    pub last_s: f64,
    /// How often it was seen.
    pub hits: u32,
    /// Whether it is told for the first time.
    pub is_new: bool,
}

/// A track that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackEnd {
    pub id: TrackId,
    pub class_id: u32,
    pub first_s: f64,
    pub last_s: f64,
    pub hits: u32,
}

/// What a frame says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// By id.
    pub tracks: Vec<Track>,
    /// What was told before and will not be again.
    pub ended: Vec<TrackEnd>,
}

/// A detection that is not more standard deviations off where and how large an object is expected to be can be
/// it, whatever they overlap: 99 % of them are less off.
const MAX_SURPRISE: f32 = 3.0;

/// Beyond this it is another object that is in its place.
const IMPOSSIBLE: f32 = 5.0;

/// What a second out of sight takes off a pair's worth, which is 2 at most.
const HIDDEN_COSTS: f32 = 0.1;

/// The objects of a camera's session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tracker {
    settings: TrackerSettings,
    objects: Vec<Object>,
    next_id: u64,
    now_s: f64,
    begun: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Object {
    /// None until it is told.
    id: Option<TrackId>,
    class_id: u32,
    motion: Motion,
    score: f32,
    first_s: f64,
    last_s: f64,
    hits: u32,
}

/// Some of a frame's observations, and what they have to overlap with to be an object.
#[derive(Clone, Copy)]
struct Among<'a> {
    observations: &'a [Observation],
    which: &'a [usize],
    min_overlap: f32,
}

impl Object {
    /// What is told of its end, if it was told of at all.
    fn end(&self) -> Option<TrackEnd> {
        let Self { class_id, first_s, last_s, hits, .. } = *self;
        Some(TrackEnd { id: self.id?, class_id, first_s, last_s, hits })
    }

    fn is_hidden(&self, since_s: f64) -> bool {
        self.last_s < since_s
    }
}

impl Tracker {
    pub fn new(settings: TrackerSettings) -> Self {
        Self { settings, objects: Vec::new(), next_id: 1, now_s: f64::NEG_INFINITY, begun: false }
    }

    /// Takes the detections of the frame of `source` that was captured at `at_s` seconds of the session. A frame that is
    /// not later than the one before moves nothing. Boxes and scores that are no numbers are passed over.
    pub fn step(&mut self, at_s: f64, source: Size, observations: &[Observation]) -> Step {
        let before_s = self.now_s;
        let dt = if self.begun { (at_s - self.now_s).max(0.0) } else { 0.0 };
        self.now_s = if self.begun { self.now_s + dt } else { at_s };
        let first_frame = !std::mem::replace(&mut self.begun, true);
        for object in &mut self.objects {
            object.motion.predict(dt, object.is_hidden(before_s));
        }

        let mut seen_as = vec![None; self.objects.len()];
        let sound = |o: &Observation| <[f32; 4]>::from(o.bbox).iter().all(|part| part.is_finite());
        let scoring = |from: f32, to: f32| -> Vec<usize> {
            let within = |o: &Observation| o.score >= from && o.score < to && sound(o);
            (0..observations.len()).filter(|i| within(&observations[*i])).collect()
        };
        let TrackerSettings { high_score, low_score, min_overlap, min_overlap_low, predict_s, .. } =
            self.settings;
        let now_s = self.now_s;
        let sure = scoring(high_score, f32::INFINITY);
        let sure = Among { observations, which: &sure, min_overlap };
        let rest = self.associate(sure, &mut seen_as, |_| true);
        let unsure = scoring(low_score, high_score);
        let unsure = Among { observations, which: &unsure, min_overlap: min_overlap_low };
        self.associate(unsure, &mut seen_as, |object| {
            object.id.is_some() && now_s - object.last_s <= predict_s
        });

        self.begin(observations, &rest, first_frame, &mut seen_as);
        let ended = self.end(source, &mut seen_as);
        Step { tracks: self.told(&seen_as), ended }
    }

    /// Matches observations with objects that were not seen yet in this frame, and gives the observations that
    /// are left.
    fn associate(
        &mut self,
        among: Among<'_>,
        seen_as: &mut [Option<usize>],
        wanted: impl Fn(&Object) -> bool,
    ) -> Vec<usize> {
        let Among { observations, which: among, min_overlap } = among;
        let mut candidates = Vec::new();
        for (row, object) in self.objects.iter().enumerate() {
            if seen_as[row].is_some() || !wanted(object) {
                continue;
            }
            let expected = object.motion.bbox();
            for (column, i) in among.iter().enumerate() {
                let observation = &observations[*i];
                if observation.class_id != object.class_id {
                    continue;
                }
                let overlap = overlap(expected, observation.bbox);
                // One that was out of sight for some time can be anywhere near, and still have its size.
                let surprise = object.motion.surprise(observation.bbox);
                let near = (1.0 - surprise / MAX_SURPRISE).max(0.0);
                if near > 0.0 || (overlap >= min_overlap && surprise <= IMPOSSIBLE) {
                    // Of two that could be it, it is rather the one that was seen just now.
                    let hidden_s = (self.now_s - object.last_s) as f32;
                    let worth = overlap + near - HIDDEN_COSTS * hidden_s;
                    candidates.push(Candidate { row, column, worth: worth.max(f32::EPSILON) });
                }
            }
        }
        let mut left = vec![true; among.len()];
        for (row, column) in assign(self.objects.len(), among.len(), &candidates) {
            let (object, observation) = (&mut self.objects[row], &observations[among[column]]);
            object.motion.update(observation.bbox);
            object.score = observation.score;
            object.last_s = self.now_s;
            object.hits += 1;
            seen_as[row] = Some(among[column]);
            left[column] = false;
        }
        among.iter().zip(left).filter(|(_, left)| *left).map(|(i, _)| *i).collect()
    }

    fn begin(
        &mut self,
        observations: &[Observation],
        rest: &[usize],
        first_frame: bool,
        seen_as: &mut Vec<Option<usize>>,
    ) {
        for i in rest {
            let Observation { bbox, class_id, score } = observations[*i];
            if score < self.settings.new_score {
                continue;
            }
            let (first_s, last_s) = (self.now_s, self.now_s);
            // What is there as the session begins has no frame before in which it could have been seen.
            let hits = if first_frame { self.settings.confirm_hits.max(1) } else { 1 };
            let motion = Motion::new(bbox);
            self.objects.push(Object { id: None, class_id, motion, score, first_s, last_s, hits });
            seen_as.push(Some(*i));
        }
    }

    /// Lets go of what was out of sight for too long, or has gone out of the picture. What was seen once only, and not again at once, was
    /// nothing.
    fn end(&mut self, source: Size, seen_as: &mut Vec<Option<usize>>) -> Vec<TrackEnd> {
        let (now_s, settings) = (self.now_s, self.settings);
        let stays = |object: &Object, seen: Option<usize>| {
            let patience = if object.id.is_some() { settings.max_hidden_s } else { settings.predict_s };
            seen.is_some() || (now_s - object.last_s <= patience && object.motion.is_within(source))
        };
        let mut ended = Vec::new();
        let mut row = 0;
        let seen = std::mem::take(seen_as);
        self.objects.retain(|object| {
            let seen = seen[row];
            row += 1;
            if stays(object, seen) {
                seen_as.push(seen);
                return true;
            }
            ended.extend(object.end());
            false
        });
        ended
    }

    fn told(&mut self, seen_as: &[Option<usize>]) -> Vec<Track> {
        let mut tracks = Vec::new();
        for (object, seen) in self.objects.iter_mut().zip(seen_as) {
            if seen.is_none() && self.now_s - object.last_s > self.settings.predict_s {
                continue;
            }
            let is_new = object.id.is_none();
            if is_new && (object.hits < self.settings.confirm_hits || seen.is_none()) {
                continue;
            }
            let id = *object.id.get_or_insert(TrackId(self.next_id));
            self.next_id += u64::from(is_new);
            tracks.push(Track {
                id,
                class_id: object.class_id,
                bbox: object.motion.bbox(),
                velocity: object.motion.velocity(),
                score: object.score,
                seen: *seen,
                first_s: object.first_s,
                last_s: object.last_s,
                hits: object.hits,
                is_new,
            });
        }
        tracks
    }

    /// Ends all tracks: the session is over.
    pub fn finish(&mut self) -> Vec<TrackEnd> {
        self.objects.drain(..).filter_map(|object| object.end()).collect()
    }
}

/// Intersection over union.
fn overlap(a: BBox, b: BBox) -> f32 {
    let width = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let height = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let area = |b: BBox| (b.x2 - b.x1).max(0.0) * (b.y2 - b.y1).max(0.0);
    let both = width * height;
    let union = area(a) + area(b) - both;
    if union > 0.0 { both / union } else { 0.0 }
}
