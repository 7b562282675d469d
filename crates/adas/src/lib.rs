//! The consumer for forward-facing vehicle cameras: time to collision from the growth of boxes, a test
//! whether objects are in the vehicle's path, and collision warnings. It is advisory only and not a safety
//! function; see docs/adas.md.
//!
//! [`EgoCamera`] is the pure core: it takes records and the time, and returns alerts and tracks. [`run`] reads
//! the records of all cameras from Kafka and writes the alerts and tracks to Kafka.

mod alert_writer;
mod cameras;
mod corridor;
mod expansion_rate;
mod ground;
mod linear_estimate;
mod metrics;
mod object;
mod record_age;
mod run;
mod vehicle;
mod warning;

pub use run::{AdasError, run};
pub use vehicle::{Assessment, EgoCamera, Limits, Outcome, Seen};
