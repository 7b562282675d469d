//! Errors of a dialog with a camera.

use gstreamer::glib;
use lookout_config::CameraSettings;
use lookout_schema::RetryReason;

use super::message::Malformed;
use crate::Fault;

/// Why a dialog cannot continue.
#[derive(Debug)]
pub(super) enum DialogError {
    Stopped,
    /// The camera did not respond in time.
    Silent,
    /// The camera closed the connection.
    Closed,
    Failed(glib::Error),
    Malformed(Malformed),
    Fault(Fault),
}

impl From<Fault> for DialogError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl DialogError {
    /// Converts an error that occurred before there was a dialog.
    pub(super) fn into_fault(self, settings: &CameraSettings) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            other => {
                Fault::new(RetryReason::Unreachable, format!("{}: no connection ({other:?})", settings.uri))
            }
        }
    }
}
