//! The consumer for forward cameras of vehicles: time to collision from how objects grow, a test whether they are
//! in the vehicle's way, and warnings. Advisory only, and no safety function; see docs/adas.md.
//!
//! [`Vehicle`] is the core and pure: records and the time go in, alerts and tracks come out. [`run`] brings it the
//! records of all cameras off Kafka, and takes what it tells there.

mod age;
mod cameras;
mod corridor;
mod drift;
mod ground;
mod growth;
mod metrics;
mod object;
mod run;
mod scribe;
mod vehicle;
mod warning;

pub use run::{AdasError, run};
pub use vehicle::{Heard, Limits, Outcome, Seen, Vehicle};
