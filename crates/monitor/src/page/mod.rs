//! What the page is told, as JSON; docs/monitor.md has each of it.

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

/// Everything at a glance.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Overview {
    pub(crate) now: Timestamp,
    pub(crate) version: &'static str,
    pub(crate) records_per_s: f64,
    /// How old records are when they are taken: a monitor that has been away has much to read.
    pub(crate) lag_s: f64,
    pub(crate) unreadable: u64,
    /// What the page lacks, and why.
    pub(crate) notices: Vec<String>,
    pub(crate) alerts_open: u64,
    /// Whether who looks has to log in.
    pub(crate) auth: bool,
    pub(crate) cameras: Vec<CameraView>,
    pub(crate) workers: Vec<WorkerView>,
    /// Cameras that were told of before, and are no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gone: Vec<CameraId>,
}

impl Overview {
    /// Of a monitor that has read nothing.
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

/// One decimal.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
