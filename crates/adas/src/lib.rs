//! The consumer for forward cameras of vehicles: time to collision from how objects grow, a test whether they are
//! in the vehicle's way, and warnings. Advisory only, and no safety function; see docs/adas.md.
//!
//! [`Vehicle`] is the core and pure: records and the time go in, alerts and tracks come out.

mod age;
mod corridor;
mod drift;
mod ground;
mod growth;
mod object;
mod vehicle;
mod warning;

pub use vehicle::{Heard, Limits, Outcome, Seen, Vehicle};
