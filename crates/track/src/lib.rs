//! What the detections of a camera's frames are together: objects that move, stay, cross a line, come nearer.
//!
//! Everything here is pure: time is an argument, in seconds of the session, and it is by time, never by a count
//! of frames, that an object is lost or predicted, so that dropped frames change nothing but what was not seen.

mod arrivals;
mod assignment;
mod border;
mod expected;
mod follower;
mod kalman;
mod line;
mod motion;
mod settings;
mod tracker;
mod ttc;
mod zone;

pub use follower::{Follower, FollowerState, Passed, Sight, TimeDoubt};
pub use kalman::Kalman;
pub use line::{Crossing, Line, LineState};
pub use settings::TrackerSettings;
pub use tracker::{MOST_OBJECTS, Observation, Step, Track, TrackEnd, TrackId, Tracker, TrackerState};
pub use ttc::{Closing, ClosingEstimate};
pub use zone::{Visit, Zone, ZoneState};
