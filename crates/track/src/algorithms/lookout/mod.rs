//! Lookout's tracker.
//!
//! Like ByteTrack it associates in stages: confirmed tracks with sure detections, then tentative tracks with the rest,
//! then tracks with detections of a low score. Pairs are weighted by buffered IoU (C-BIoU, Yang et al. 2023,
//! <https://arxiv.org/abs/2211.14317>) and gated by the Mahalanobis distance. Unlike them, it predicts by time
//! rather than by frame count, so that it works at 1 to 5 frames/s, and it compensates for camera motion by the common
//! displacement of the boxes.

mod motion;

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use self::motion::Motion;
use super::{
    Frame, MAX_OBJECTS, Tracker, TrackerState,
    frame_clock::{FrameClock, FrameTime},
    lifecycle::{Lifecycle, Shown, TrackIds},
    usable,
};
use crate::{
    TrackerSettings,
    assignment::{Candidate, assign},
    bbox_parts::{from_parts, parts},
    track::{Observation, Track, TrackEnd, TrackerOutput},
};

/// The gate: the maximum Mahalanobis distance of a detection's center, width and height from the prediction.
const MAX_DISTANCE: f64 = 3.5;
/// A detection that overlaps the prediction by this IoU passes the gate.
const SURE_IOU: f64 = 0.4;

/// Each side of both boxes is moved outwards by this share of the box's size before their IoU is calculated, so that
/// boxes that do not touch can match.
const BUFFER: f64 = 0.6;
const MIN_BUFFERED_IOU: f64 = 0.15;
/// The same for detections with a low score.
const MIN_LOW_SCORE_IOU: f64 = 0.4;

/// The weight of the squared distance, relative to the gate, and the penalty of a track that was missed in the previous
/// frame, against buffered IoU.
const DISTANCE_WEIGHT: f64 = 0.3;
const MISSED_PENALTY: f64 = 0.07;

/// The share of the boxes' median displacement that counts as the camera's motion, and the number of boxes that it
/// takes. The rest is the motion of the objects.
const CAMERA_SHARE: f64 = 0.4;
const MIN_CAMERA_BOXES: usize = 2;

/// A track is confirmed if its detections' scores exceed `new_track_thresh - SCORE_MARGIN` by this sum.
const CONFIRM_SUM: f64 = 0.9;
const SCORE_MARGIN: f64 = 0.1;
/// The number of detections that confirm a track whatever their scores are.
const MAX_CONFIRM_HITS: u32 = 4;
/// For how long a tentative track may be without a detection, or for one frame.
const TENTATIVE_S: f64 = 0.1;

/// A detection that overlaps a track of the same frame by this IoU is a duplicate and starts no track.
const DUPLICATE_IOU: f64 = 0.4;

/// The share of the filtered box in the box that is output; the rest is the detection. The filter removes the jitter of
/// the detector but lags behind objects that change their speed or size.
const FILTERED_SHARE: f64 = 0.6;

/// The tracker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookout {
    pub(super) settings: TrackerSettings,
    pub(super) state: LookoutState,
}

/// The state of the tracker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LookoutState {
    pub(super) ids: TrackIds,
    clock: FrameClock,
    objects: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    life: Lifecycle,
    motion: Motion,
    /// Whether the object was not detected in the previous frame.
    is_missed: bool,
    /// By how much the scores of the detections exceed the threshold, in total.
    score_sum: f64,
}

/// A track as it is compared with detections.
#[derive(Debug, Clone, Copy)]
struct Expected {
    class_id: u32,
    values: [f64; 4],
    spreads: [f64; 4],
    bbox: BBox,
    buffered: BBox,
    is_missed: bool,
    /// Whether the track was output before.
    is_output: bool,
    /// Whether the object has a velocity and was seen in the previous frame.
    is_steady: bool,
}

/// A detection as it is compared with tracks.
#[derive(Debug, Clone, Copy)]
struct Detected {
    index: usize,
    class_id: u32,
    values: [f64; 4],
    bbox: BBox,
    buffered: BBox,
}

impl LookoutState {
    /// Returns the state of a tracker without tracks, whose ids continue `ids`.
    pub(super) fn new(ids: TrackIds) -> Self {
        Self { ids, ..Self::default() }
    }
}

impl Object {
    fn new(observation: &Observation, time: FrameTime, excess: f64) -> Self {
        Self {
            life: Lifecycle::new(observation, time.now_s),
            motion: Motion::new(observation.bbox),
            is_missed: false,
            score_sum: excess,
        }
    }

    fn update(&mut self, observation: &Observation, time: FrameTime, excess: f64) {
        self.motion.update(observation.bbox);
        self.life.hit(observation, time.now_s);
        self.score_sum += excess;
    }

    fn is_confirmed(&self) -> bool {
        self.life.id.is_some() || self.score_sum >= CONFIRM_SUM || self.life.hits >= MAX_CONFIRM_HITS
    }

    fn expected(&self) -> Expected {
        let bbox = self.motion.bbox();
        Expected {
            class_id: self.life.class_id,
            values: self.motion.values(),
            spreads: self.motion.spreads(),
            bbox,
            buffered: buffered(bbox),
            is_missed: self.is_missed,
            is_output: self.life.id.is_some(),
            is_steady: self.life.hits >= 2 && !self.is_missed,
        }
    }
}

impl Detected {
    fn new(index: usize, observation: &Observation) -> Self {
        let Observation { bbox, class_id, .. } = *observation;
        Self { index, class_id, values: parts(bbox), bbox, buffered: buffered(bbox) }
    }
}

fn buffered(bbox: BBox) -> BBox {
    let [x, y, width, height] = parts(bbox);
    from_parts([x, y, width * (1.0 + 2.0 * BUFFER), height * (1.0 + 2.0 * BUFFER)])
}

fn shifted(bbox: BBox, [x, y]: [f64; 2]) -> BBox {
    let [x, y] = [x as f32, y as f32];
    BBox { x1: bbox.x1 + x, y1: bbox.y1 + y, x2: bbox.x2 + x, y2: bbox.y2 + y }
}

/// Returns whether two boxes overlap.
fn overlaps(a: BBox, b: BBox) -> bool {
    a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2
}

impl Expected {
    fn shift(&mut self, by: [f64; 2]) {
        self.values[0] += by[0];
        self.values[1] += by[1];
        self.bbox = shifted(self.bbox, by);
        self.buffered = shifted(self.buffered, by);
    }

    /// Returns the weight of the pair of the track and a detection; `None` if they cannot be a pair.
    fn weight(&self, detected: &Detected, min_iou: f64) -> Option<f64> {
        if self.class_id != detected.class_id || !overlaps(self.buffered, detected.buffered) {
            return None;
        }
        let buffered_iou = self.buffered.iou(detected.buffered);
        if buffered_iou < min_iou {
            return None;
        }
        let offset = |i: usize| (detected.values[i] - self.values[i]).powi(2) / self.spreads[i];
        let distance = (0..4).map(offset).sum::<f64>() / MAX_DISTANCE.powi(2);
        if distance > 1.0 && self.bbox.iou(detected.bbox) < SURE_IOU {
            return None;
        }
        let penalty = if self.is_missed { MISSED_PENALTY } else { 0.0 };
        let nearness = DISTANCE_WEIGHT * (1.0 - distance).max(0.0);
        Some((buffered_iou + nearness - penalty).max(f64::from(f32::EPSILON)))
    }
}

/// The association of one frame.
struct Association {
    expected: Vec<Expected>,
    /// The index of the observation of each object.
    seen: Vec<Option<usize>>,
}

impl Association {
    fn new(objects: &[Object]) -> Self {
        Self { expected: objects.iter().map(Object::expected).collect(), seen: vec![None; objects.len()] }
    }

    /// Matches the objects that `wanted` selects and that were not seen yet with the detections. Returns the pairs of an
    /// object and a detection.
    fn pairs(
        &self,
        wanted: impl Fn(&Expected) -> bool,
        detected: &[Detected],
        min_iou: f64,
    ) -> Vec<(usize, usize)> {
        let mut candidates = Vec::with_capacity(2 * detected.len());
        for (row, (expected, seen)) in self.expected.iter().zip(&self.seen).enumerate() {
            if seen.is_some() || !wanted(expected) {
                continue;
            }
            for (column, detected) in detected.iter().enumerate() {
                if let Some(weight) = expected.weight(detected, min_iou) {
                    candidates.push(Candidate { row, column, worth: weight as f32 });
                }
            }
        }
        assign(self.expected.len(), detected.len(), &candidates)
    }

    /// Moves all objects by the motion of the camera, which is estimated from the objects that were seen in the previous
    /// frame.
    fn follow_camera(&mut self, objects: &mut [Object], detected: &[Detected]) {
        let pairs = self.pairs(|expected| expected.is_steady, detected, MIN_BUFFERED_IOU);
        if pairs.len() < MIN_CAMERA_BOXES {
            return;
        }
        let by = [0, 1].map(|axis| {
            let offset = |(row, column): &(usize, usize)| {
                detected[*column].values[axis] - self.expected[*row].values[axis]
            };
            CAMERA_SHARE * median(pairs.iter().map(offset).collect())
        });
        objects.iter_mut().for_each(|object| object.motion.shift(by));
        self.expected.iter_mut().for_each(|expected| expected.shift(by));
    }

    /// Matches and removes the matched detections from `free`.
    fn associate(&mut self, wanted: impl Fn(&Expected) -> bool, free: &mut Vec<Detected>, min_iou: f64) {
        if free.is_empty() {
            return;
        }
        let mut is_free = vec![true; free.len()];
        for (row, column) in self.pairs(wanted, free, min_iou) {
            self.seen[row] = Some(free[column].index);
            is_free[column] = false;
        }
        let mut is_free = is_free.into_iter();
        free.retain(|_| is_free.next() == Some(true));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

impl Lookout {
    pub(super) fn new(settings: TrackerSettings, state: LookoutState) -> Self {
        Self { settings, state }
    }

    /// Returns by how much a score exceeds the score of an uncertain detection.
    fn excess(&self, score: f32) -> f64 {
        (f64::from(score - self.settings.new_track_thresh) + SCORE_MARGIN).max(0.0)
    }

    /// Predicts all objects to the time of the frame, and ends those that were undetected for too long.
    fn advance(&mut self, time: FrameTime, ended: &mut Vec<TrackEnd>) {
        let dt = time.dt_s.unwrap_or(0.0);
        let max_age_s = self.settings.max_age_s;
        self.state.objects.retain_mut(|object| {
            let patience_s = match object.life.id {
                Some(_) => max_age_s,
                None => TENTATIVE_S.max(1.5 * dt).min(max_age_s),
            };
            let stays = time.now_s - object.life.last_s <= patience_s;
            if stays {
                object.motion.predict(dt, object.is_missed);
            } else {
                ended.extend(object.life.end());
            }
            stays
        });
    }

    /// Starts tracks with the detections that match no track.
    fn start(
        &mut self,
        frame: &Frame<'_>,
        time: FrameTime,
        free: &[Detected],
        seen: &mut Vec<Option<usize>>,
    ) {
        for detected in free {
            let observation = &frame.observations[detected.index];
            let is_duplicate = |object: &Object| {
                object.life.last_s == time.now_s
                    && object.life.class_id == observation.class_id
                    && object.motion.bbox().iou(observation.bbox) > DUPLICATE_IOU
            };
            if self.state.objects.len() < MAX_OBJECTS && !self.state.objects.iter().any(is_duplicate) {
                let excess = self.excess(observation.score);
                self.state.objects.push(Object::new(observation, time, excess));
                seen.push(Some(detected.index));
            }
        }
    }

    /// Returns the tracks to output.
    fn output(&mut self, frame: &Frame<'_>, time: FrameTime, seen: &[Option<usize>]) -> Vec<Track> {
        let predict_s = self.settings.predict_s;
        let LookoutState { ids, objects, .. } = &mut self.state;
        let mut tracks = Vec::with_capacity(objects.len());
        for (object, seen) in objects.iter_mut().zip(seen) {
            let is_predicted = predict_s > 0.0 && time.now_s - object.life.last_s <= predict_s;
            if !object.is_confirmed() || !(seen.is_some() || is_predicted) {
                continue;
            }
            let filtered = object.motion.bbox();
            let bbox = match seen {
                Some(index) => blend(filtered, frame.observations[*index].bbox),
                None => match filtered.clipped(frame.source) {
                    Some(clipped) => clipped,
                    None => continue,
                },
            };
            let velocity = object.motion.velocity().map(|rate| rate as f32);
            tracks.push(object.life.track(ids, Shown { bbox, velocity, seen: *seen }));
        }
        tracks
    }
}

fn blend(filtered: BBox, seen: BBox) -> BBox {
    let share = FILTERED_SHARE as f32;
    let (filtered, seen) = (<[f32; 4]>::from(filtered), <[f32; 4]>::from(seen));
    BBox::from([0, 1, 2, 3].map(|i| share * filtered[i] + (1.0 - share) * seen[i]))
}

impl Tracker for Lookout {
    fn update(&mut self, frame: &Frame<'_>) -> TrackerOutput {
        let time = self.state.clock.advance(frame.at_s, self.settings.max_age_s);
        let mut ended = if time.is_restart { self.finish() } else { Vec::new() };
        self.advance(time, &mut ended);
        let settings = self.settings;
        let detected = usable(frame.observations, settings.low_score)
            .into_iter()
            .map(|index| Detected::new(index, &frame.observations[index]));
        let (mut sure, mut unsure): (Vec<Detected>, Vec<Detected>) =
            detected.partition(|one| frame.observations[one.index].score >= settings.new_track_thresh);
        let mut association = Association::new(&self.state.objects);
        association.follow_camera(&mut self.state.objects, &sure);
        association.associate(|expected| expected.is_output, &mut sure, MIN_BUFFERED_IOU);
        association.associate(|expected| !expected.is_output, &mut sure, MIN_BUFFERED_IOU);
        association.associate(|expected| expected.is_output, &mut unsure, MIN_LOW_SCORE_IOU);
        let mut seen = association.seen;
        for (row, seen) in seen.iter().enumerate() {
            let excess = seen.map(|index| self.excess(frame.observations[index].score));
            let object = &mut self.state.objects[row];
            object.is_missed = seen.is_none();
            if let (Some(index), Some(excess)) = (seen, excess) {
                object.update(&frame.observations[*index], time, excess);
            }
        }
        self.start(frame, time, &sure, &mut seen);
        let tracks = self.output(frame, time, &seen);
        TrackerOutput::new(tracks, ended)
    }

    fn finish(&mut self) -> Vec<TrackEnd> {
        self.state.objects.drain(..).filter_map(|object| object.life.end()).collect()
    }

    fn state(&self) -> TrackerState {
        TrackerState::Lookout(self.state.clone())
    }
}
