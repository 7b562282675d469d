//! Multi-object tracking on the detections of one camera, with zones, line crossings and time to collision.
//!
//! Everything here is pure: time is an argument, in seconds of the session. Lookout's tracker predicts and ends tracks
//! by time, never by a count of frames, so a dropped frame has no effect beyond the detections that it would have held.
#![warn(missing_docs)]

mod algorithms;
mod assignment;
mod bbox_parts;
mod kalman;
mod line;
mod session_tracker;
mod settings;
mod track;
mod ttc;
mod zone;

pub use algorithms::{
    ByteTrack, Frame, LookoutState, MAX_OBJECTS, OcSort, Sort, Tracker, TrackerState, tracker,
};
pub use kalman::Kalman;
pub use line::{Crossing, Line, LineState};
pub use session_tracker::{
    IgnoreCause, SessionTracker, SessionTrackerState, TimestampConflict, TrackedFrame,
};
pub use settings::TrackerSettings;
pub use track::{Observation, Track, TrackEnd, TrackId, TrackerOutput};
pub use ttc::{TtcEstimate, TtcEstimator};
pub use zone::{DwellInterval, Zone, ZoneState};
