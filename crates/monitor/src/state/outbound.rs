//! The results of the applied records that are to be stored or published.

use std::collections::BTreeMap;

use lookout_schema::{AlertRecord, CameraId, SnapshotRecord, TrackRecord, WorkerId};

use super::bucket::Bucket;

/// Outbound events, filled as records are applied and drained by the consumer loop.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// New alerts of the monitor, to be stored and then published.
    pub(crate) alerts: Vec<AlertRecord>,
    /// Alerts read from the topic of the alerts, from the monitor and other consumers.
    pub(crate) read: Vec<AlertRecord>,
    pub(crate) tracks: Vec<TrackRecord>,
    pub(crate) buckets: Vec<(CameraId, Bucket)>,
    /// Cameras and workers that were removed from the state.
    pub(crate) gone: Vec<CameraId>,
    pub(crate) gone_workers: Vec<WorkerId>,
    pub(crate) snapshots: Vec<SnapshotRecord>,
    /// The fields that are no longer trusted, one entry per camera whose times started to disagree.
    pub(crate) doubts: Vec<&'static str>,
    /// The sequence number of the last frame of each watched camera.
    pub(crate) watched_frames: BTreeMap<CameraId, u64>,
}
