//! The JSON views for the web page, described in docs/monitor.md.

mod camera;
mod changes;
mod details;
mod history;
mod worker;

use lookout_schema::{CameraId, Timestamp};
use serde::Serialize;

pub(crate) use self::{
    camera::{Around, CameraView},
    changes::Changes,
    details::{Details, tracks_view},
    history::history,
    worker::WorkerView,
};

/// The overview of all cameras and workers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Overview {
    pub(crate) now: Timestamp,
    pub(crate) version: &'static str,
    pub(crate) records_per_s: f64,
    /// The age of records when they are read. It is high while the monitor catches up.
    pub(crate) lag_s: f64,
    pub(crate) unreadable: u64,
    /// The data that the page lacks, and why.
    pub(crate) notices: Vec<String>,
    pub(crate) alerts_open: u64,
    /// Whether a login is required.
    pub(crate) auth: bool,
    pub(crate) cameras: Vec<CameraView>,
    pub(crate) workers: Vec<WorkerView>,
    /// Cameras of earlier updates that no longer exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gone: Vec<CameraId>,
}

impl Overview {
    /// Returns the overview of a monitor that has not read any records.
    pub(crate) fn empty(auth: bool) -> Self {
        Self {
            now: Timestamp::now(),
            version: env!("CARGO_PKG_VERSION"),
            records_per_s: 0.0,
            lag_s: 0.0,
            unreadable: 0,
            notices: Vec::new(),
            alerts_open: 0,
            auth,
            cameras: Vec::new(),
            workers: Vec::new(),
            gone: Vec::new(),
        }
    }
}

/// Rounds to one decimal.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
