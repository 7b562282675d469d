//! SORT (Bewley et al. 2016, <https://arxiv.org/abs/1602.00763>), with the published settings.

use serde::{Deserialize, Serialize};

use super::{
    Frame, Tracker, TrackerState,
    frame_clock::FrameClock,
    frame_kalman::AreaKalman,
    lifecycle::{Lifecycle, Shown, TrackIds},
    usable,
};
use crate::{assignment::assign_by, track::TrackEnd, track::TrackerOutput};

/// The number of frames without a detection after which a track ends.
const MAX_AGE: u32 = 1;
/// The number of consecutive detections before a track is output.
const MIN_HITS: u32 = 3;
const MIN_IOU: f64 = 0.3;

/// The tracker, which is also its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sort {
    pub(super) ids: TrackIds,
    clock: FrameClock,
    frames: u32,
    objects: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    life: Lifecycle,
    kalman: AreaKalman,
    misses: u32,
    streak: u32,
}

impl Sort {
    /// Returns the state of a tracker without tracks, whose ids continue `ids`.
    pub(super) fn new(ids: TrackIds) -> Self {
        Self { ids, ..Self::default() }
    }
}

impl Tracker for Sort {
    fn update(&mut self, frame: &Frame<'_>) -> TrackerOutput {
        let time = self.clock.advance(frame.at_s, 0.0);
        let mut ended = if time.is_restart { self.finish() } else { Vec::new() };
        self.frames = self.frames.saturating_add(1);
        for object in &mut self.objects {
            object.kalman.predict();
            object.streak = if object.misses > 0 { 0 } else { object.streak };
            object.misses += 1;
        }
        let (objects, observations) = (&mut self.objects, frame.observations);
        objects.retain(|object| object.kalman.bbox().is_some());
        let mut free = usable(observations, 0.0);
        let boxes: Vec<_> = objects.iter().filter_map(|object| object.kalman.bbox()).collect();
        let iou = |row: usize, column: usize| {
            let observation = &observations[free[column]];
            let iou = boxes[row].iou(observation.bbox);
            (objects[row].life.class_id == observation.class_id && iou > 0.0).then_some(iou)
        };
        let pairs = assign_by(objects.len(), free.len(), iou);
        let mut seen = vec![None; objects.len()];
        for (row, column) in pairs {
            let observation = &observations[free[column]];
            if boxes[row].iou(observation.bbox) >= MIN_IOU {
                let object = &mut objects[row];
                object.kalman.update(observation.bbox);
                object.life.hit(observation, time.now_s);
                object.misses = 0;
                object.streak += 1;
                seen[row] = Some(free[column]);
            }
        }
        free.retain(|index| !seen.contains(&Some(*index)));
        for index in free {
            let observation = &observations[index];
            let kalman = AreaKalman::new(observation.bbox);
            let life = Lifecycle::new(observation, time.now_s);
            objects.push(Object { life, kalman, misses: 0, streak: 0 });
            seen.push(Some(index));
        }
        let mut tracks = Vec::new();
        for (object, seen) in objects.iter_mut().zip(seen) {
            let is_confirmed = object.streak >= MIN_HITS || self.frames <= MIN_HITS;
            if let (true, true, Some(bbox)) = (seen.is_some(), is_confirmed, object.kalman.bbox()) {
                let velocity = time.velocity(object.kalman.velocity());
                tracks.push(object.life.track(&mut self.ids, Shown { bbox, velocity, seen }));
            }
        }
        objects.retain(|object| {
            let stays = object.misses <= MAX_AGE;
            ended.extend(object.life.end().filter(|_| !stays));
            stays
        });
        TrackerOutput::new(tracks, ended)
    }

    fn finish(&mut self) -> Vec<TrackEnd> {
        self.frames = 0;
        self.objects.drain(..).filter_map(|object| object.life.end()).collect()
    }

    fn state(&self) -> TrackerState {
        TrackerState::Sort(self.clone())
    }
}
