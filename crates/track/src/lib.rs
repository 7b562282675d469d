//! Multi-object tracking on the detections of one camera, with zones, line crossings and time to collision.
//!
//! Everything here is pure: time is an argument, in seconds of the session. Tracks are predicted and ended by
//! time, never by a count of frames, so a dropped frame has no effect beyond the detections that it would
//! have held.
#![warn(missing_docs)]

mod arrival_rates;
mod assignment;
mod kalman;
mod line;
mod motion;
mod session_tracker;
mod settings;
mod track;
mod tracker;
mod truncated_box;
mod ttc;
mod turn_likelihood;
mod zone;

pub use kalman::Kalman;
pub use line::{Crossing, Line, LineState};
pub use session_tracker::{
    IgnoreCause, SessionTracker, SessionTrackerState, TimestampConflict, TrackedFrame,
};
pub use settings::TrackerSettings;
pub use track::{Observation, Track, TrackEnd, TrackId, TrackerOutput};
pub use tracker::{MAX_OBJECTS, Tracker, TrackerState};
pub use ttc::{TtcEstimate, TtcEstimator};
pub use zone::{DwellInterval, Zone, ZoneState};
