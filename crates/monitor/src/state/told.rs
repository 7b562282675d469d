//! What records have led to, and is to be kept or told.

use lookout_schema::{AlertRecord, CameraId, TrackRecord, WorkerId};

use super::bucket::Bucket;

/// Filled as records are taken, and emptied by whoever runs the monitor.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Ours, to be kept and then told.
    pub(crate) alerts: Vec<AlertRecord>,
    /// What the alerts' topic holds, of others and of us.
    pub(crate) read: Vec<AlertRecord>,
    pub(crate) tracks: Vec<TrackRecord>,
    pub(crate) buckets: Vec<(CameraId, Bucket)>,
    /// Cameras and workers that are forgotten.
    pub(crate) gone: Vec<CameraId>,
    pub(crate) gone_workers: Vec<WorkerId>,
    /// Cameras with a new picture.
    pub(crate) pictures: Vec<CameraId>,
}
