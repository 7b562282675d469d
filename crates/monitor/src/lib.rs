//! The monitor.

mod error;
mod rules;
mod state;
mod store;

pub use error::{MonitorError, StoreError};
