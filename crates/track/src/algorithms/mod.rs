//! The trackers: Lookout's own and published baselines, behind one trait.

mod byte_track;
mod frame_clock;
mod frame_kalman;
mod lifecycle;
mod lookout;
mod oc_sort;
mod sort;

use std::fmt;

use lookout_schema::{BBox, Size, TrackerAlgorithm};
use serde::{Deserialize, Serialize};

pub use self::{byte_track::ByteTrack, lookout::LookoutState, oc_sort::OcSort, sort::Sort};
use self::{frame_clock::FrameTime, lifecycle::TrackIds, lookout::Lookout};
use crate::{
    TrackerSettings,
    track::{Observation, TrackEnd, TrackerOutput},
};

/// The maximum number of objects that a camera's tracker follows, and of detections per frame that it
/// processes, highest scores first. It bounds memory and time.
pub const MAX_OBJECTS: usize = 512;

/// The maximum absolute coordinate of a box, in pixels. Boxes beyond it are ignored.
const MAX_PX: f32 = 1e6;

/// A frame of one camera.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The capture time, in seconds of the session.
    pub at_s: f64,
    /// The size of the image in pixels.
    pub source: Size,
    /// The detections in the frame.
    pub observations: &'a [Observation],
}

/// A tracker of one camera.
pub trait Tracker: fmt::Debug + Send + Sync {
    /// Processes the next frame.
    ///
    /// A frame that is not later than the previous one, or whose time is not finite, does not advance the time. A frame
    /// that is much earlier belongs to a restarted session, and all tracks end. Boxes without an area, and boxes and
    /// scores that are not finite, are ignored.
    fn update(&mut self, frame: &Frame<'_>) -> TrackerOutput;

    /// Ends all tracks, at the end of a session. Ids are not reused.
    fn finish(&mut self) -> Vec<TrackEnd>;

    /// Returns the serializable state, for [`TrackerState::resume`].
    fn state(&self) -> TrackerState;
}

/// The state of a tracker without its settings. A tracker that is resumed with it continues as if it had not been
/// stopped, with the new settings from then on. A serialization format that changes the last digit of numbers (such as
/// `serde_json` without its feature `float_roundtrip`) gives almost the same tracks only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerState {
    /// The state of [`TrackerAlgorithm::Lookout`].
    Lookout(LookoutState),
    /// The state of [`TrackerAlgorithm::Sort`].
    Sort(Sort),
    /// The state of [`TrackerAlgorithm::ByteTrack`].
    ByteTrack(ByteTrack),
    /// The state of [`TrackerAlgorithm::OcSort`].
    OcSort(OcSort),
}

/// Creates a tracker whose first track has the id `last_id + 1`.
///
/// # Examples
/// ```
/// use lookout_schema::Size;
/// use lookout_track::{Frame, Observation, TrackerSettings, tracker};
///
/// let mut tracker = tracker(TrackerSettings::default(), 0);
/// let source = Size { width: 1280, height: 720 };
/// let mut ids = Vec::new();
/// for (at_s, x) in [(0.0, 100.0), (0.1, 104.0), (0.2, 108.0)] {
///     let person = Observation { bbox: [x, 100.0, x + 50.0, 200.0].into(), class_id: 1, score: 0.9 };
///     let output = tracker.update(&Frame { at_s, source, observations: &[person] });
///     ids.extend(output.tracks.iter().map(|track| track.id.0));
/// }
/// assert_eq!(ids, [1]);
/// ```
pub fn tracker(settings: TrackerSettings, last_id: u64) -> Box<dyn Tracker> {
    let ids = TrackIds { last: last_id };
    match settings.algorithm {
        TrackerAlgorithm::Lookout => Box::new(Lookout::new(settings, LookoutState::new(ids))),
        TrackerAlgorithm::Sort => Box::new(Sort::new(ids)),
        TrackerAlgorithm::ByteTrack => Box::new(ByteTrack::new(ids)),
        TrackerAlgorithm::OcSort => Box::new(OcSort::new(ids)),
    }
}

impl TrackerState {
    /// Returns the algorithm that the state belongs to.
    pub fn algorithm(&self) -> TrackerAlgorithm {
        match self {
            Self::Lookout(_) => TrackerAlgorithm::Lookout,
            Self::Sort(_) => TrackerAlgorithm::Sort,
            Self::ByteTrack(_) => TrackerAlgorithm::ByteTrack,
            Self::OcSort(_) => TrackerAlgorithm::OcSort,
        }
    }

    /// Returns the id of the last track that was output.
    pub fn last_id(&self) -> u64 {
        match self {
            Self::Lookout(state) => state.ids.last,
            Self::Sort(state) => state.ids.last,
            Self::ByteTrack(state) => state.ids.last,
            Self::OcSort(state) => state.ids.last,
        }
    }

    /// Restores the tracker, with new settings.
    pub fn resume(self, settings: TrackerSettings) -> Box<dyn Tracker> {
        match self {
            Self::Lookout(state) => Box::new(Lookout::new(settings, state)),
            Self::Sort(state) => Box::new(state),
            Self::ByteTrack(state) => Box::new(state),
            Self::OcSort(state) => Box::new(state),
        }
    }
}

impl FrameTime {
    /// Converts a velocity per frame to pixels per second.
    fn velocity(&self, per_frame: [f64; 2]) -> [f32; 2] {
        let dt = self.dt_s.filter(|dt| *dt > 0.0);
        per_frame.map(|rate| dt.map_or(0.0, |dt| rate / dt) as f32)
    }

    /// Returns whether the previous frame was less than `max_s` after `last_s`.
    fn is_within(&self, last_s: f64, max_s: f64) -> bool {
        self.now_s - self.dt_s.unwrap_or(0.0) - last_s < max_s - 1e-6
    }
}

/// Returns the indices of the observations that can be objects: those with a score of at least `min_score` and a box
/// with an area, up to [`MAX_OBJECTS`] with the highest scores.
fn usable(observations: &[Observation], min_score: f32) -> Vec<usize> {
    let is_usable = |o: &Observation| o.score >= min_score && o.score.is_finite() && is_sound(o.bbox);
    let mut usable: Vec<usize> = (0..observations.len()).filter(|i| is_usable(&observations[*i])).collect();
    if usable.len() > MAX_OBJECTS {
        usable.sort_by(|a, b| observations[*b].score.total_cmp(&observations[*a].score));
        usable.truncate(MAX_OBJECTS);
    }
    usable
}

/// Returns whether a box has an area and usable coordinates.
fn is_sound(bbox: BBox) -> bool {
    let near = <[f32; 4]>::from(bbox).iter().all(|part| part.abs() <= MAX_PX);
    near && bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1
}
