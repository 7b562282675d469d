//! The monitor: reads the records of workers and other consumers, keeps a history, evaluates rules, publishes
//! alerts, and serves a web page.
//!
//! [`Monitor::open`] takes valid settings, and [`Monitor::run`] runs until it is asked to stop. One task
//! reads Kafka and applies each record to a state that uses neither a clock nor a disk (`state`, `rules`).
//! The results are committed to the store (`store`) before they are published (`run`). The state is served
//! over HTTP (`page`, `http`).

mod error;
mod http;
mod latest_snapshots;
mod metrics;
mod page;
mod rules;
mod run;
mod shared;
mod state;
mod store;

pub use error::{MonitorError, StoreError};
pub use run::Monitor;
