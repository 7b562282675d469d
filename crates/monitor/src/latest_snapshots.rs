//! The latest snapshot of each camera.

use std::{collections::BTreeMap, sync::Arc};

use lookout_schema::{CameraId, SnapshotRecord};

/// The latest snapshots, within a memory limit. They are shared with the HTTP handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestSnapshots {
    pictures: BTreeMap<CameraId, Arc<SnapshotRecord>>,
    bytes: usize,
}

/// The limit for all snapshots together, 1 MiB per camera for 500 cameras.
const MAX_BYTES: usize = 512 * 1024 * 1024;
/// The minimum size of a snapshot besides its JPEG, in bytes.
const OVERHEAD: usize = 1024;

impl LatestSnapshots {
    /// Replaces the camera's snapshot. Removes the oldest snapshots while the limit is exceeded.
    pub(crate) fn put(&mut self, picture: SnapshotRecord) {
        self.forget(&picture.camera);
        while self.bytes > MAX_BYTES {
            let oldest = self.pictures.values().min_by_key(|picture| picture.captured_at);
            let Some(camera) = oldest.map(|picture| picture.camera.clone()) else { break };
            self.forget(&camera);
        }
        self.bytes += size(&picture);
        self.pictures.insert(picture.camera.clone(), Arc::new(picture));
    }

    pub(crate) fn get(&self, camera: &CameraId) -> Option<&Arc<SnapshotRecord>> {
        self.pictures.get(camera)
    }

    pub(crate) fn forget(&mut self, camera: &CameraId) {
        if let Some(gone) = self.pictures.remove(camera) {
            self.bytes -= size(&gone);
        }
    }
}

fn size(picture: &SnapshotRecord) -> usize {
    /// The size of a detection with its label, in bytes.
    const DETECTION: usize = 128;
    OVERHEAD + picture.jpeg.len() + DETECTION * picture.detections.len()
}
