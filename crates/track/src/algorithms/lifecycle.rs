//! The parts of a track that all trackers have: its id, its times and its counts.

use serde::{Deserialize, Serialize};

use crate::track::{Observation, Track, TrackEnd, TrackId};

/// The ids of a tracker's tracks, in the order in which the tracks are output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackIds {
    /// The id of the last track that was output.
    pub(crate) last: u64,
}

/// The history of a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lifecycle {
    /// `None` until the track is output.
    pub(crate) id: Option<TrackId>,
    pub(crate) class_id: u32,
    pub(crate) score: f32,
    pub(crate) first_s: f64,
    pub(crate) last_s: f64,
    pub(crate) hits: u32,
}

impl Lifecycle {
    pub(crate) fn new(observation: &Observation, now_s: f64) -> Self {
        let Observation { class_id, score, .. } = *observation;
        Self { id: None, class_id, score, first_s: now_s, last_s: now_s, hits: 1 }
    }

    /// Adds a detection.
    pub(crate) fn hit(&mut self, observation: &Observation, now_s: f64) {
        self.score = observation.score;
        self.last_s = now_s;
        self.hits = self.hits.saturating_add(1);
    }

    /// Returns the track to output, with a new id if it is output for the first time.
    pub(crate) fn track(&mut self, ids: &mut TrackIds, shown: Shown) -> Track {
        let is_new = self.id.is_none();
        ids.last += u64::from(is_new);
        let Shown { bbox, velocity, seen } = shown;
        let Self { class_id, score, first_s, last_s, hits, .. } = *self;
        let id = *self.id.get_or_insert(TrackId(ids.last));
        Track { id, class_id, bbox, velocity, score, seen, first_s, last_s, hits, is_new }
    }

    /// Returns the end of the track, if the track was output.
    pub(crate) fn end(&self) -> Option<TrackEnd> {
        let Self { class_id, first_s, last_s, hits, .. } = *self;
        Some(TrackEnd { id: self.id?, class_id, first_s, last_s, hits })
    }
}

/// The part of a track that an algorithm estimates for one frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) bbox: lookout_schema::BBox,
    pub(crate) velocity: [f32; 2],
    pub(crate) seen: Option<usize>,
}
