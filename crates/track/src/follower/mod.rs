//! One camera's records in, its objects out.
//!
//! A camera connects anew, changes its owner, and is read twice where a consumer was stopped: this is where a
//! stream of records becomes one sequence of frames to the tracker, and where what it says becomes records again.

mod places;
mod told;

use std::collections::BTreeMap;

use lookout_schema::{Detection, Epoch, FrameRecord, Region, SessionId, Timestamp, TrackRecord};
use serde::{Deserialize, Serialize};

use self::{
    places::{Places, PlacesState},
    told::{Look, Told},
};
use crate::{Crossing, Observation, Track, Tracker, TrackerSettings, TrackerState, Visit};

/// Follows the objects of one camera through its sessions.
#[derive(Debug, Clone)]
pub struct Follower {
    /// What is written as `tracker` in its records.
    name: String,
    settings: TrackerSettings,
    /// The newest owner that was heard of.
    epoch: Epoch,
    session: Option<Session>,
    places: Places,
}

/// Where a [`Follower`] is, to be saved and loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FollowerState {
    epoch: Epoch,
    session: Option<SessionState>,
    places: PlacesState,
}

/// One unbroken connection to the camera.
#[derive(Debug, Clone)]
struct Session {
    so_far: SoFar,
    tracker: Tracker,
}

/// What is known of a session beside its objects' motion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SoFar {
    id: SessionId,
    last_seq: u64,
    clock: Clock,
    told: Told,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SessionState {
    so_far: SoFar,
    tracker: TrackerState,
}

/// Time within a session, by the stream's own where it has one: a camera's wall clock is set anew in mid-stream when
/// its first sender report comes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Clock {
    begin: Timestamp,
    begin_pts_ns: Option<u64>,
    now_s: f64,
}

/// What a frame says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sight {
    /// When, in seconds of the session.
    pub at_s: f64,
    /// The objects, by id.
    pub tracks: Vec<Track>,
    /// What is to be told of them: `new`, `update` and `end`. Their `published_at` and `age_ms` are set when they
    /// are written.
    pub records: Vec<TrackRecord>,
    /// Who has crossed which line.
    pub crossings: Vec<(String, Crossing)>,
    /// The stays in zones that are over.
    pub visits: Vec<(String, Visit)>,
    /// Whether a session has begun with it, so that no track before it goes on.
    pub began: bool,
}

/// Why a record says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It is from an owner that had lost the camera.
    OldEpoch,
    /// It was heard before, or comes after one that is later.
    Doubled,
}

impl Follower {
    pub fn new(name: impl Into<String>, settings: TrackerSettings) -> Self {
        Self {
            name: name.into(),
            settings,
            epoch: Epoch::default(),
            session: None,
            places: Places::default(),
        }
    }

    /// Goes on where one was when its [`Self::state`] was saved, whatever the settings were then.
    pub fn resume(name: impl Into<String>, settings: TrackerSettings, state: FollowerState) -> Self {
        let FollowerState { epoch, session, places } = state;
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

    pub fn state(&self) -> FollowerState {
        let state = |Session { so_far, tracker }: &Session| SessionState {
            so_far: so_far.clone(),
            tracker: tracker.state().clone(),
        };
        FollowerState {
            epoch: self.epoch,
            session: self.session.as_ref().map(state),
            places: self.places.state(),
        }
    }

    /// The zones and lines to watch. Those that stay as they were keep whom they know.
    pub fn set_places(&mut self, zones: &BTreeMap<String, Region>, lines: &BTreeMap<String, [[f32; 2]; 2]>) {
        self.places.set(zones, lines);
    }

    /// Takes the camera's next record.
    ///
    /// # Errors
    /// The record is passed over, and nothing has changed.
    pub fn hear(&mut self, frame: &FrameRecord) -> Result<Sight, Passed> {
        if frame.epoch < self.epoch {
            return Err(Passed::OldEpoch);
        }
        let goes_on = self.session.as_ref().filter(|session| session.so_far.id == frame.session);
        if goes_on.is_some_and(|session| frame.seq <= session.so_far.last_seq) {
            return Err(Passed::Doubled);
        }
        // Sessions are named by the time of their making; one that is over does not come back.
        if goes_on.is_none()
            && frame.epoch == self.epoch
            && self.session.as_ref().is_some_and(|session| frame.session < session.so_far.id)
        {
            return Err(Passed::Doubled);
        }
        let began = goes_on.is_none();
        let mut sight = Sight { began, ..Sight::default() };
        if began {
            sight.records = self.finish();
            self.session = Some(Session::new(frame, self.settings));
        }
        self.epoch = frame.epoch;
        if let Some(session) = &mut self.session {
            session.hear(frame, &self.name, &mut self.places, &mut sight);
        }
        Ok(sight)
    }

    /// Ends all tracks: the camera is not watched any more.
    pub fn finish(&mut self) -> Vec<TrackRecord> {
        self.places.forget();
        self.session
            .take()
            .map(|mut session| session.so_far.told.end(&session.tracker.finish(), None))
            .unwrap_or_default()
    }

    /// The objects that were told of and have not ended, as they were told last.
    pub fn objects(&self) -> impl Iterator<Item = &TrackRecord> {
        self.session.iter().flat_map(|session| session.so_far.told.records())
    }

    /// Who is in each zone.
    pub fn zones(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &Visit>)> {
        self.places.zones()
    }

    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.so_far.id)
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Session {
    fn new(frame: &FrameRecord, settings: TrackerSettings) -> Self {
        let so_far = SoFar {
            id: frame.session,
            last_seq: frame.seq,
            clock: Clock { begin: frame.captured_at, begin_pts_ns: frame.pts_ns, now_s: 0.0 },
            told: Told::default(),
        };
        Self { so_far, tracker: Tracker::new(settings) }
    }

    fn hear(&mut self, frame: &FrameRecord, name: &str, places: &mut Places, sight: &mut Sight) {
        self.so_far.last_seq = frame.seq;
        sight.at_s = self.so_far.clock.step(frame);
        let observations: Vec<Observation> = frame.detections.iter().map(observation).collect();
        let step = self.tracker.step(sight.at_s, frame.source, &observations);
        let met = places.step(sight.at_s, frame.source, &step.tracks);
        let look = Look { frame, tracker: name, at_s: sight.at_s };
        sight.records.extend(self.so_far.told.step(look, &step, &met, places));
        sight.tracks = step.tracks;
        sight.crossings = met.crossings;
        sight.visits = met.visits;
    }
}

impl Clock {
    /// Seconds from the session's first frame to this one.
    fn step(&mut self, frame: &FrameRecord) -> f64 {
        let by_stream =
            frame.pts_ns.zip(self.begin_pts_ns).map(|(now, begin)| now.saturating_sub(begin) as f64 / 1e9);
        let by_clock = || (frame.captured_at.as_unix_us() - self.begin.as_unix_us()) as f64 / 1e6;
        self.now_s = by_stream.unwrap_or_else(by_clock).max(self.now_s);
        self.now_s
    }
}

fn observation(seen: &Detection) -> Observation {
    Observation { bbox: seen.bbox, class_id: seen.class_id, score: seen.score }
}
