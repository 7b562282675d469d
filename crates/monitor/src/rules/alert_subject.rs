//! The subject of an alert.

use lookout_schema::{CameraId, FrameRef, WorkerId};

/// The subject of an alert.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AlertSubject<'a> {
    Frame(&'a CameraId, FrameRef),
    Camera(&'a CameraId),
    Worker(&'a WorkerId),
}

impl AlertSubject<'_> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Frame(camera, _) | Self::Camera(camera) => camera.as_str(),
            Self::Worker(worker) => worker.as_str(),
        }
    }
}
