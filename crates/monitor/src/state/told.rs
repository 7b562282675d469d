//! What records have led to, and is to be kept or told.

use std::collections::BTreeMap;

use lookout_schema::{AlertRecord, CameraId, SnapshotRecord, TrackRecord, WorkerId};

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
    pub(crate) pictures: Vec<SnapshotRecord>,
    /// The fields that are not believed, of cameras whose times do not agree.
    pub(crate) doubts: Vec<&'static str>,
    /// The last frames, by number, of the cameras that are watched.
    pub(crate) looks: BTreeMap<CameraId, u64>,
}
