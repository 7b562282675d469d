//! The last picture of each camera.

use std::{collections::BTreeMap, sync::Arc};

use lookout_schema::{CameraId, SnapshotRecord};

/// Pictures, within bounds of memory. They are shared with whoever shows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pictures {
    pictures: BTreeMap<CameraId, Arc<SnapshotRecord>>,
    bytes: usize,
}

/// All of them together; for 500 cameras this is a megabyte each.
const MAX_BYTES: usize = 512 * 1024 * 1024;
/// What a picture takes beside its JPEG, at the least.
const OVERHEAD: usize = 1024;

impl Pictures {
    /// Puts the camera's picture in the place of the one before; where there is no room the one that was captured
    /// first goes.
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
    /// A detection with its label.
    const DETECTION: usize = 128;
    OVERHEAD + picture.jpeg.len() + DETECTION * picture.detections.len()
}
