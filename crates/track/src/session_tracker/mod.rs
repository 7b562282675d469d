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
use serde::{Deserialize, Serialize};

pub use self::clock::TimestampConflict;
use self::{
    clock::Clock,
    places::{Places, PlacesState},
    published_tracks::{FrameContext, PublishedTracks},
};
use crate::{Crossing, DwellInterval, Observation, Track, Tracker, TrackerSettings, TrackerState};

/// The session tracker: tracks the objects of one camera across its sessions.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
struct Session {
    so_far: SoFar,
    tracker: Tracker,
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
    tracker: TrackerState,
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
        let resume = |SessionState { so_far, tracker }| Session {
            so_far,
            tracker: Tracker::resume(settings, tracker),
        };
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
        let state = |Session { so_far, tracker }: &Session| SessionState {
            so_far: so_far.clone(),
            tracker: tracker.state().clone(),
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
        self.session
            .take()
            .map(|mut session| session.so_far.published.end(&session.tracker.finish(), None))
            .unwrap_or_default()
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
        Self { so_far, tracker: Tracker::new(settings) }
    }

    fn process(&mut self, frame: &FrameRecord, name: &str, places: &mut Places, tracked: &mut TrackedFrame) {
        self.so_far.last_seq = frame.seq;
        let tick = self.so_far.clock.step(frame);
        (tracked.at_s, tracked.doubt) = (tick.at_s, tick.changed);
        if tick.is_other {
            // Speeds that were measured in the other time base are invalid.
            places.forget();
            tracked.records.extend(self.so_far.published.end(&self.tracker.finish(), None));
            tracked.restarted = true;
        }
        let observations: Vec<Observation> = frame.detections.iter().map(observation).collect();
        let step = self.tracker.step(tracked.at_s, frame.source, &observations);
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
