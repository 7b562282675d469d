//! OC-SORT (Cao et al. 2023, <https://arxiv.org/abs/2203.14360>), with the defaults of the PyPI package `trackers` 2.6.

use std::f64::consts::{FRAC_PI_2, PI};

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use super::{
    Frame, Tracker, TrackerState,
    frame_clock::{FrameClock, FrameTime},
    frame_kalman::AreaKalman,
    lifecycle::{Lifecycle, Shown, TrackIds},
    usable,
};
use crate::{
    assignment::assign_by,
    bbox_parts::{from_parts, parts},
    track::{Observation, TrackEnd, TrackerOutput},
};

const MIN_SCORE: f32 = 0.6;
const MIN_IOU: f64 = 0.3;
const DIRECTION_WEIGHT: f64 = 0.2;
/// The direction of a track is that from its box this number of frames ago.
const DELTA_T: u32 = 3;
/// The number of consecutive detections before a track is output.
const MIN_HITS: u32 = 3;
/// For how long a track may be without a detection, not counting the current frame.
const MAX_LOST_S: f64 = 1.0;

/// The tracker, which is also its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OcSort {
    pub(super) ids: TrackIds,
    clock: FrameClock,
    frames: u32,
    objects: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    life: Lifecycle,
    kalman: AreaKalman,
    /// The filter when the object was first missed.
    frozen: Option<AreaKalman>,
    last: BBox,
    /// The boxes of the last frames, with the age of the track.
    history: Vec<(u32, BBox)>,
    /// The direction as a unit vector; `None` until the second match.
    direction: Option<[f64; 2]>,
    age: u32,
    misses: u32,
    streak: u32,
}

/// Returns the unit vector from one box's center to another's.
fn direction(from: BBox, to: BBox) -> [f64; 2] {
    let ([x1, y1, ..], [x2, y2, ..]) = (parts(from), parts(to));
    let length = (x2 - x1).hypot(y2 - y1) + 1e-6;
    [(x2 - x1) / length, (y2 - y1) / length]
}

impl Object {
    fn predict(&mut self) {
        if self.misses == 1 {
            self.frozen = Some(self.kalman);
        }
        self.kalman.predict();
        self.streak = if self.misses > 0 { 0 } else { self.streak };
        self.misses += 1;
        self.age += 1;
    }

    /// Returns the box `DELTA_T` frames ago, or one that is nearest to it.
    fn previous(&self) -> Option<BBox> {
        let at = |back: u32| self.history.iter().find(|(age, _)| Some(*age) == self.age.checked_sub(back));
        let found = (1..=DELTA_T).rev().find_map(at).or(self.history.last());
        found.map(|(_, bbox)| *bbox)
    }

    fn update(&mut self, observation: &Observation, time: FrameTime) {
        let bbox = observation.bbox;
        if let Some(previous) = self.previous() {
            self.direction = Some(direction(previous, bbox));
        }
        // Observation-centric re-update: the filter follows a line from the last to the new box.
        if let Some(frozen) = self.frozen.take() {
            self.kalman = frozen;
            let ([from, to], steps) = ([parts(self.last), parts(bbox)], self.misses);
            for step in 1..=steps {
                let part = f64::from(step) / f64::from(steps);
                self.kalman.update(from_parts([0, 1, 2, 3].map(|i| from[i] + (to[i] - from[i]) * part)));
                if step < steps {
                    self.kalman.predict();
                }
            }
        }
        self.kalman.update(bbox);
        self.life.hit(observation, time.now_s);
        self.misses = 0;
        self.streak += 1;
        self.last = bbox;
        self.history.push((self.age, bbox));
        self.history.retain(|(age, _)| *age + DELTA_T >= self.age);
    }

    /// Returns how well a box agrees with the direction of the track, -0.5 to 0.5.
    fn consistency(&self, bbox: BBox) -> f64 {
        let Some([x, y]) = self.direction else { return 0.0 };
        let [to_x, to_y] = direction(self.previous().unwrap_or(self.last), bbox);
        (FRAC_PI_2 - (x * to_x + y * to_y).clamp(-1.0, 1.0).acos()) / PI
    }
}

impl OcSort {
    /// Returns the state of a tracker without tracks, whose ids continue `ids`.
    pub(super) fn new(ids: TrackIds) -> Self {
        Self { ids, ..Self::default() }
    }
}

impl Tracker for OcSort {
    fn update(&mut self, frame: &Frame<'_>) -> TrackerOutput {
        let time = self.clock.advance(frame.at_s, MAX_LOST_S);
        let mut ended = if time.is_restart { self.finish() } else { Vec::new() };
        let (objects, observations) = (&mut self.objects, frame.observations);
        if objects.is_empty() && observations.is_empty() {
            return TrackerOutput::new(Vec::new(), ended);
        }
        objects.iter_mut().for_each(Object::predict);
        let mut free = usable(observations, MIN_SCORE);
        let mut seen = vec![None; objects.len()];
        let predicted: Vec<Option<BBox>> = objects.iter().map(|object| object.kalman.bbox()).collect();
        let iou = |object: usize, index: usize| {
            predicted[object].map_or(0.0, |bbox| bbox.iou(observations[index].bbox))
        };
        // The offset makes all values positive. It does not change which assignment is the best.
        let worth = |row: usize, column: usize| {
            let observation = &observations[free[column]];
            let consistency = objects[row].consistency(observation.bbox) * f64::from(observation.score);
            let is_same = objects[row].life.class_id == observation.class_id;
            is_same.then(|| 1.0 + iou(row, free[column]) + DIRECTION_WEIGHT * consistency)
        };
        let pairs = assign_by(objects.len(), free.len(), worth);
        for (row, column) in pairs {
            if iou(row, free[column]) >= MIN_IOU {
                objects[row].update(&observations[free[column]], time);
                seen[row] = Some(free[column]);
            }
        }
        free.retain(|index| !seen.contains(&Some(*index)));
        // Observation-centric recovery: the rest is matched with the last boxes.
        let rows: Vec<usize> = (0..objects.len()).filter(|row| seen[*row].is_none()).collect();
        let last_iou = |row: usize, column: usize| {
            let (object, observation) = (&objects[rows[row]], &observations[free[column]]);
            let iou = object.last.iou(observation.bbox);
            (object.life.class_id == observation.class_id && iou > 0.0).then_some(iou)
        };
        let pairs = assign_by(rows.len(), free.len(), last_iou);
        for (row, column) in pairs {
            let object = &mut objects[rows[row]];
            if object.last.iou(observations[free[column]].bbox) >= MIN_IOU {
                object.update(&observations[free[column]], time);
                seen[rows[row]] = Some(free[column]);
            }
        }
        free.retain(|index| !seen.contains(&Some(*index)));
        let mut tracks = Vec::new();
        for (object, seen) in objects.iter_mut().zip(seen) {
            let Some(index) = seen else { continue };
            if object.streak >= MIN_HITS || self.frames <= MIN_HITS {
                let velocity = time.velocity(object.kalman.velocity());
                let shown = Shown { bbox: observations[index].bbox, velocity, seen };
                tracks.push(object.life.track(&mut self.ids, shown));
            }
        }
        for index in free {
            let observation = &observations[index];
            objects.push(Object {
                life: Lifecycle::new(observation, time.now_s),
                kalman: AreaKalman::new(observation.bbox),
                frozen: None,
                last: observation.bbox,
                history: Vec::new(),
                direction: None,
                age: 0,
                misses: 0,
                streak: 0,
            });
        }
        objects.retain(|object| {
            let stays = time.is_within(object.life.last_s, MAX_LOST_S);
            ended.extend(object.life.end().filter(|_| !stays));
            stays
        });
        self.frames = self.frames.saturating_add(1);
        TrackerOutput::new(tracks, ended)
    }

    fn finish(&mut self) -> Vec<TrackEnd> {
        self.frames = 0;
        self.objects.drain(..).filter_map(|object| object.life.end()).collect()
    }

    fn state(&self) -> TrackerState {
        TrackerState::OcSort(self.clone())
    }
}
