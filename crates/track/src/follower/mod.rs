//! One camera's records in, its objects out.
//!
//! A camera connects anew, changes its owner, and is read twice where a consumer was stopped: this is where a
//! stream of records becomes one sequence of frames to the tracker, and where what it says becomes records again.

mod clock;
mod places;
mod told;

use std::collections::BTreeMap;

use lookout_schema::{Detection, Epoch, FrameRecord, Region, SessionId, TrackRecord};
use serde::{Deserialize, Serialize};

pub use self::clock::TimeDoubt;
use self::{
    clock::Clock,
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
    /// Whether a session has begun with it, or time goes by another clock from it on, so that no track before it goes
    /// on.
    pub began: bool,
    /// Which of the camera's times is not believed from now on, where that has changed: none where they agree again.
    pub doubt: Option<Option<TimeDoubt>>,
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
            let doubt = self.session.as_ref().and_then(|session| session.so_far.clock.doubt());
            sight.records = self.finish();
            self.session = Some(Session::new(frame, self.settings, doubt));
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
    fn new(frame: &FrameRecord, settings: TrackerSettings, doubt: Option<TimeDoubt>) -> Self {
        let so_far = SoFar {
            id: frame.session,
            last_seq: frame.seq,
            clock: Clock::new(frame, doubt),
            told: Told::default(),
        };
        Self { so_far, tracker: Tracker::new(settings) }
    }

    fn hear(&mut self, frame: &FrameRecord, name: &str, places: &mut Places, sight: &mut Sight) {
        self.so_far.last_seq = frame.seq;
        let tick = self.so_far.clock.step(frame);
        (sight.at_s, sight.doubt) = (tick.at_s, tick.changed);
        if tick.is_other {
            // Speeds by the other clock mean nothing by this one.
            places.forget();
            sight.records.extend(self.so_far.told.end(&self.tracker.finish(), None));
            sight.began = true;
        }
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

fn observation(seen: &Detection) -> Observation {
    Observation { bbox: seen.bbox, class_id: seen.class_id, score: seen.score }
}
