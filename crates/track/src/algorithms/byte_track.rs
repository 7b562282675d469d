//! ByteTrack (Zhang et al. 2021, <https://arxiv.org/abs/2110.06864>) without appearance features, with the filter and
//! the defaults of the PyPI package `trackers` 2.6.

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use super::{
    Frame, Tracker, TrackerState,
    frame_clock::{FrameClock, FrameTime},
    frame_kalman::FrameKalman,
    lifecycle::{Lifecycle, Shown, TrackIds},
    usable,
};
use crate::{
    assignment::assign_by,
    track::{Observation, TrackEnd, TrackerOutput},
};

const HIGH_SCORE: f32 = 0.6;
const NEW_SCORE: f32 = 0.7;
const MIN_IOU: f64 = 0.1;
/// The number of consecutive detections before a track is output.
const MIN_HITS: u32 = 2;
/// For how long a track may be without a detection, not counting the current frame.
const MAX_LOST_S: f64 = 1.0;

/// The tracker, which is also its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ByteTrack {
    pub(super) ids: TrackIds,
    clock: FrameClock,
    objects: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    life: Lifecycle,
    /// The filters of the four sides.
    sides: [FrameKalman; 4],
    is_missed: bool,
    streak: u32,
}

impl Object {
    fn bbox(&self) -> BBox {
        BBox::from(self.sides.map(|side| side.value as f32))
    }

    fn predict(&mut self) {
        self.sides.iter_mut().for_each(|side| side.predict(0.01, 0.01));
        self.streak = if self.is_missed { 0 } else { self.streak };
        self.is_missed = true;
    }

    fn update(&mut self, observation: &Observation, time: FrameTime) {
        for (side, value) in self.sides.iter_mut().zip(<[f32; 4]>::from(observation.bbox)) {
            side.update(f64::from(value), 0.1);
        }
        self.life.hit(observation, time.now_s);
        self.is_missed = false;
        self.streak += 1;
    }
}

impl ByteTrack {
    /// Returns the state of a tracker without tracks, whose ids continue `ids`.
    pub(super) fn new(ids: TrackIds) -> Self {
        Self { ids, ..Self::default() }
    }

    /// Matches the tracks that are not in `seen` with `free` detections. Returns the detections that stay free.
    fn associate(
        &mut self,
        frame: &Frame<'_>,
        time: FrameTime,
        free: Vec<usize>,
        seen: &mut [Option<usize>],
    ) -> Vec<usize> {
        let rows: Vec<usize> = (0..seen.len()).filter(|row| seen[*row].is_none()).collect();
        let boxes: Vec<BBox> = rows.iter().map(|row| self.objects[*row].bbox()).collect();
        let iou = |row: usize, column: usize| {
            let observation = &frame.observations[free[column]];
            let iou = boxes[row].iou(observation.bbox);
            (self.objects[rows[row]].life.class_id == observation.class_id && iou > 0.0).then_some(iou)
        };
        for (row, column) in assign_by(rows.len(), free.len(), iou) {
            let observation = &frame.observations[free[column]];
            if boxes[row].iou(observation.bbox) >= MIN_IOU {
                self.objects[rows[row]].update(observation, time);
                seen[rows[row]] = Some(free[column]);
            }
        }
        free.into_iter().filter(|index| !seen.contains(&Some(*index))).collect()
    }
}

impl Tracker for ByteTrack {
    fn update(&mut self, frame: &Frame<'_>) -> TrackerOutput {
        let time = self.clock.advance(frame.at_s, MAX_LOST_S);
        let mut ended = if time.is_restart { self.finish() } else { Vec::new() };
        self.objects.iter_mut().for_each(Object::predict);
        let score = |index: &usize| frame.observations[*index].score;
        let (high, low): (Vec<usize>, Vec<usize>) =
            usable(frame.observations, 0.0).into_iter().partition(|index| score(index) >= HIGH_SCORE);
        let mut seen = vec![None; self.objects.len()];
        let free = self.associate(frame, time, high, &mut seen);
        self.associate(frame, time, low, &mut seen);
        let mut tracks = Vec::new();
        for (object, seen) in self.objects.iter_mut().zip(seen) {
            let Some(index) = seen else { continue };
            if object.life.id.is_some() || object.streak >= MIN_HITS {
                let rate = object.sides.map(|side| side.rate);
                let velocity = time.velocity([(rate[0] + rate[2]) / 2.0, (rate[1] + rate[3]) / 2.0]);
                let shown = Shown { bbox: frame.observations[index].bbox, velocity, seen };
                tracks.push(object.life.track(&mut self.ids, shown));
            }
        }
        for index in free.into_iter().filter(|index| score(index) >= NEW_SCORE) {
            let observation = &frame.observations[index];
            let sides = <[f32; 4]>::from(observation.bbox).map(|s| FrameKalman::new(f64::from(s), 1.0, 1.0));
            let life = Lifecycle::new(observation, time.now_s);
            self.objects.push(Object { life, sides, is_missed: false, streak: 1 });
        }
        self.objects.retain(|object| {
            let is_mature = object.life.id.is_some() || object.streak >= MIN_HITS;
            let stays = time.is_within(object.life.last_s, MAX_LOST_S) && (is_mature || !object.is_missed);
            ended.extend(object.life.end().filter(|_| !stays));
            stays
        });
        TrackerOutput::new(tracks, ended)
    }

    fn finish(&mut self) -> Vec<TrackEnd> {
        self.objects.drain(..).filter_map(|object| object.life.end()).collect()
    }

    fn state(&self) -> TrackerState {
        TrackerState::ByteTrack(self.clone())
    }
}
