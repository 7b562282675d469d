//! Session tracker: converts one camera's frame records into track records.
//!
//! A camera reconnects and changes its owner, and its records are read twice after a restart of the consumer.
//! This module turns the stream of records into one sequence of frames for the tracker, and the tracker's
//! output into records.

mod clock;
mod places;
mod published_tracks;

use std::collections::BTreeMap;

use lookout_schema::{Detection, Epoch, FrameRecord, Region, SessionId, TrackRecord};
use serde::{Deserialize, Serialize, de::IgnoredAny};

pub use self::clock::TimestampConflict;
use self::{
    clock::Clock,
    places::{Places, PlacesState},
    published_tracks::{FrameContext, PublishedTracks},
};
use crate::{
    Crossing, DwellInterval, Frame, MAX_OBJECTS, Observation, Track, Tracker, TrackerSettings, TrackerState,
    algorithms::tracker,
};

/// The session tracker: tracks the objects of one camera across its sessions.
#[derive(Debug)]
pub struct SessionTracker {
    /// The value of `tracker` in the track records.
    name: String,
    settings: TrackerSettings,
    /// The highest epoch received.
    epoch: Epoch,
    session: Option<Session>,
    places: Places,
}

/// The serializable state of a [`SessionTracker`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionTrackerState {
    epoch: Epoch,
    session: Option<SessionState>,
    places: PlacesState,
}

/// The tracking state of one session of the camera.
#[derive(Debug)]
struct Session {
    so_far: SoFar,
    tracker: Box<dyn Tracker>,
    /// Whether the tracker was replaced by another algorithm, so that the published tracks do not continue.
    is_replaced: bool,
}

/// The state of a session except the tracker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SoFar {
    id: SessionId,
    last_seq: u64,
    clock: Clock,
    published: PublishedTracks,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SessionState {
    so_far: SoFar,
    tracker: SavedTracker,
}

/// The state of a tracker, or that of another version of Lookout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum SavedTracker {
    Known(Box<TrackerState>),
    #[serde(skip_serializing)]
    Unknown(IgnoredAny),
}

/// The result for one frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackedFrame {
    /// Time of the frame, in seconds of the session.
    pub at_s: f64,
    /// The tracks, ordered by id.
    pub tracks: Vec<Track>,
    /// The track records to publish, with the events `new`, `update` and `end`. `published_at` and `age_ms`
    /// are set when they are written.
    pub records: Vec<TrackRecord>,
    /// The line crossings, with the names of the lines.
    pub crossings: Vec<(String, Crossing)>,
    /// The dwell intervals that have ended, with the names of the zones.
    pub visits: Vec<(String, DwellInterval)>,
    /// Whether a session or another time base starts with this frame, so that no earlier track continues.
    pub restarted: bool,
    /// The camera time that is no longer trusted from now on, if that has changed; `Some(None)` if the times
    /// agree again.
    pub doubt: Option<Option<TimestampConflict>>,
}

/// Why a record was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreCause {
    /// The record is from a former owner of the camera (stale epoch).
    StaleEpoch,
    /// The record was already processed, or is older than a processed one.
    Duplicate,
}

impl SessionTracker {
    /// Creates a session tracker. `name` is the `tracker` of its track records.
    pub fn new(name: impl Into<String>, settings: TrackerSettings) -> Self {
        Self {
            name: name.into(),
            settings,
            epoch: Epoch::default(),
            session: None,
            places: Places::default(),
        }
    }

    /// Restores a session tracker from its saved [`Self::state`], with new settings.
    pub fn resume(name: impl Into<String>, settings: TrackerSettings, state: SessionTrackerState) -> Self {
        let SessionTrackerState { epoch, session, places } = state;
        let resume = |SessionState { so_far, tracker }| Session::resume(so_far, tracker, settings);
        Self {
            name: name.into(),
            settings,
            epoch,
            session: session.map(resume),
            places: Places::resume(places),
        }
    }

    /// Returns the serializable state, for [`Self::resume`].
    pub fn state(&self) -> SessionTrackerState {
        let state = |Session { so_far, tracker, .. }: &Session| SessionState {
            so_far: so_far.clone(),
            tracker: SavedTracker::Known(Box::new(tracker.state())),
        };
        SessionTrackerState {
            epoch: self.epoch,
            session: self.session.as_ref().map(state),
            places: self.places.state(),
        }
    }

    /// Sets the zones and lines. Unchanged zones and lines keep their state.
    pub fn set_places(&mut self, zones: &BTreeMap<String, Region>, lines: &BTreeMap<String, [[f32; 2]; 2]>) {
        self.places.set(zones, lines);
    }

    /// Processes the camera's next record.
    ///
    /// # Errors
    /// Returns why the record was ignored; the state is unchanged.
    pub fn process(&mut self, frame: &FrameRecord) -> Result<TrackedFrame, IgnoreCause> {
        if frame.epoch < self.epoch {
            return Err(IgnoreCause::StaleEpoch);
        }
        let continued = self.session.as_ref().filter(|session| session.so_far.id == frame.session);
        if continued.is_some_and(|session| frame.seq <= session.so_far.last_seq) {
            return Err(IgnoreCause::Duplicate);
        }
        // Session ids are ordered by creation time, and a session that is over does not return.
        if continued.is_none()
            && frame.epoch == self.epoch
            && self.session.as_ref().is_some_and(|session| frame.session < session.so_far.id)
        {
            return Err(IgnoreCause::Duplicate);
        }
        let restarted = continued.is_none();
        let mut tracked = TrackedFrame { restarted, ..TrackedFrame::default() };
        if restarted {
            let doubt = self.session.as_ref().and_then(|session| session.so_far.clock.doubt());
            tracked.records = self.finish();
            self.session = Some(Session::new(frame, self.settings, doubt));
        }
        self.epoch = frame.epoch;
        if let Some(session) = &mut self.session {
            session.process(frame, &self.name, &mut self.places, &mut tracked);
        }
        Ok(tracked)
    }

    /// Ends all tracks, because the camera is no longer watched.
    pub fn finish(&mut self) -> Vec<TrackRecord> {
        self.places.forget();
        self.session.take().map(|mut session| session.so_far.published.end_all()).unwrap_or_default()
    }

    /// Returns the latest records of the tracks that were published and have not ended.
    pub fn objects(&self) -> impl Iterator<Item = &TrackRecord> {
        self.session.iter().flat_map(|session| session.so_far.published.records())
    }

    /// Returns the current dwell intervals of each zone.
    pub fn zones(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &DwellInterval>)> {
        self.places.zones()
    }

    /// Returns the session of the last record, if any was processed.
    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.so_far.id)
    }

    /// Returns the highest epoch of the processed records.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Session {
    fn new(frame: &FrameRecord, settings: TrackerSettings, doubt: Option<TimestampConflict>) -> Self {
        let so_far = SoFar {
            id: frame.session,
            last_seq: frame.seq,
            clock: Clock::new(frame, doubt),
            published: PublishedTracks::default(),
        };
        // A session tracker that starts in the middle of a session does not repeat the ids of an earlier one: a tracker
        // outputs at most `MAX_OBJECTS` new tracks per frame.
        let last_id = frame.seq.saturating_mul(MAX_OBJECTS as u64);
        Self { so_far, tracker: tracker(settings, last_id), is_replaced: false }
    }

    fn resume(so_far: SoFar, saved: SavedTracker, settings: TrackerSettings) -> Self {
        match saved {
            SavedTracker::Known(state) if state.algorithm() == settings.algorithm => {
                Self { so_far, tracker: state.resume(settings), is_replaced: false }
            }
            _ => {
                let last_id = so_far.last_seq.saturating_add(1).saturating_mul(MAX_OBJECTS as u64);
                Self { so_far, tracker: tracker(settings, last_id), is_replaced: true }
            }
        }
    }

    fn process(&mut self, frame: &FrameRecord, name: &str, places: &mut Places, tracked: &mut TrackedFrame) {
        self.so_far.last_seq = frame.seq;
        let tick = self.so_far.clock.step(frame);
        (tracked.at_s, tracked.doubt) = (tick.at_s, tick.changed);
        // Speeds that were measured in another time base are invalid.
        if tick.is_other || std::mem::take(&mut self.is_replaced) {
            places.forget();
            self.tracker.finish();
            tracked.records.extend(self.so_far.published.end_all());
            tracked.restarted = true;
        }
        let observations: Vec<Observation> = frame.detections.iter().map(observation).collect();
        let (at_s, source) = (tracked.at_s, frame.source);
        let step = self.tracker.update(&Frame { at_s, source, observations: &observations });
        let met = places.step(tracked.at_s, frame.source, &step.tracks);
        let context = FrameContext { frame, tracker: name, at_s: tracked.at_s };
        tracked.records.extend(self.so_far.published.step(context, &step, &met, places));
        tracked.tracks = step.tracks;
        tracked.crossings = met.crossings;
        tracked.visits = met.visits;
    }
}

fn observation(seen: &Detection) -> Observation {
    Observation { bbox: seen.bbox, class_id: seen.class_id, score: seen.score }
}
