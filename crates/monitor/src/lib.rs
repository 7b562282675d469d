//! The monitor: reads what workers and other consumers publish, keeps a history of it, holds it to rules, tells what
//! breaks them, and serves a page that shows it all.
//!
//! [`Monitor::open`] takes valid settings, and [`Monitor::run`] runs until it is told to stop. In between, one task
//! reads Kafka and applies each record to a state that knows neither a clock nor a disk (`state`, `rules`); what comes
//! of it is kept (`store`) before it is told (`run`); and what is known is served (`page`, `http`).

mod error;
mod http;
mod metrics;
mod page;
mod rules;
mod run;
mod state;
mod store;

pub use error::{MonitorError, StoreError};
pub use run::Monitor;
