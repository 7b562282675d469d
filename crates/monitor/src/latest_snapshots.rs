//! The latest snapshot of each camera.

use std::{collections::BTreeMap, sync::Arc};

use lookout_schema::{CameraId, SnapshotRecord};

/// The latest snapshots, within a memory limit. They are shared with the HTTP handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestSnapshots {
    snapshots: BTreeMap<CameraId, Arc<SnapshotRecord>>,
    bytes: usize,
}

/// The limit for all snapshots together, 1 MiB per camera for 500 cameras.
const MAX_BYTES: usize = 512 * 1024 * 1024;
/// The minimum size of a snapshot besides its JPEG, in bytes.
const OVERHEAD: usize = 1024;

impl LatestSnapshots {
    /// Replaces the camera's snapshot. Removes the oldest snapshots while the limit is exceeded.
    pub(crate) fn put(&mut self, snapshot: SnapshotRecord) {
        self.forget(&snapshot.camera);
        while self.bytes > MAX_BYTES {
            let oldest = self.snapshots.values().min_by_key(|snapshot| snapshot.captured_at);
            let Some(camera) = oldest.map(|snapshot| snapshot.camera.clone()) else { break };
            self.forget(&camera);
        }
        self.bytes += size(&snapshot);
        self.snapshots.insert(snapshot.camera.clone(), Arc::new(snapshot));
    }

    pub(crate) fn get(&self, camera: &CameraId) -> Option<&Arc<SnapshotRecord>> {
        self.snapshots.get(camera)
    }

    pub(crate) fn forget(&mut self, camera: &CameraId) {
        if let Some(gone) = self.snapshots.remove(camera) {
            self.bytes -= size(&gone);
        }
    }
}

fn size(snapshot: &SnapshotRecord) -> usize {
    /// The size of a detection with its label, in bytes.
    const DETECTION: usize = 128;
    OVERHEAD + snapshot.jpeg.len() + DETECTION * snapshot.detections.len()
}
