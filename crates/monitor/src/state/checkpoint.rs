//! Checkpoints: what is committed in one transaction, and how the state is restored from it.

use std::collections::BTreeMap;

use lookout_schema::{AlertRecord, CameraId, Timestamp, WorkerId};
use lookout_wire::{Offsets, TopicIds};

use super::{Bucket, Camera, State, Worker};

/// The content of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    /// The offsets to resume from; `None` for a partial commit, where each camera stores its own offsets.
    pub(crate) places: Option<(Offsets, TopicIds)>,
    pub(crate) cameras: Vec<(CameraId, Vec<u8>)>,
    pub(crate) workers: Vec<(WorkerId, Vec<u8>)>,
    pub(crate) gone: Vec<CameraId>,
    pub(crate) gone_workers: Vec<WorkerId>,
    pub(crate) buckets: Vec<(CameraId, Bucket)>,
    /// New alerts of the monitor, published once they are committed.
    pub(crate) alerts: Vec<AlertRecord>,
    /// Alerts read from the topic of the alerts.
    pub(crate) read: Vec<AlertRecord>,
}

/// The restored content of the store.
#[derive(Debug, Default)]
pub(crate) struct RestoredState {
    pub(crate) places: Offsets,
    /// The ids of the topics to which the offsets belong.
    pub(crate) topic_ids: TopicIds,
    pub(crate) cameras: Vec<(String, Vec<u8>)>,
    pub(crate) workers: Vec<(String, Vec<u8>)>,
}

impl State {
    /// Returns whether there are results that must be committed before they can be published.
    pub(crate) fn is_due(&self) -> bool {
        let outbound = &self.outbound;
        !(outbound.alerts.is_empty() && outbound.read.is_empty() && outbound.buckets.is_empty())
    }

    /// Returns what to commit now: all changes if `all`, otherwise only the state on which alerts and history
    /// depend.
    pub(crate) fn checkpoint(&mut self, all: bool) -> Checkpoint {
        let mut checkpoint = Checkpoint { places: all.then(|| self.places()), ..Checkpoint::default() };
        for (id, camera) in &mut self.cameras {
            if camera.live.due || (all && camera.live.dirty) {
                camera.live.due = false;
                camera.live.dirty = false;
                checkpoint.cameras.extend(encoded(id.as_str(), camera).map(|bytes| (id.clone(), bytes)));
            }
        }
        for (id, worker) in &mut self.workers {
            if worker.due || (all && worker.dirty) {
                worker.due = false;
                worker.dirty = false;
                checkpoint.workers.extend(encoded(id.as_str(), worker).map(|bytes| (id.clone(), bytes)));
            }
        }
        let outbound = &mut self.outbound;
        checkpoint.gone = std::mem::take(&mut outbound.gone);
        checkpoint.gone_workers = std::mem::take(&mut outbound.gone_workers);
        checkpoint.buckets = std::mem::take(&mut outbound.buckets);
        checkpoint.alerts = std::mem::take(&mut outbound.alerts);
        checkpoint.read = std::mem::take(&mut outbound.read);
        checkpoint
    }

    /// Restores the state. A part that cannot be decoded, because another version wrote it, starts empty.
    pub(crate) fn resume(&mut self, kept: RestoredState, now: Timestamp) {
        self.places.clone_from(&kept.places);
        self.topic_ids = kept.topic_ids;
        self.resume_offsets = kept.places;
        let cameras = kept.cameras.iter().filter_map(|(id, bytes)| decoded::<Camera>(id, bytes));
        self.cameras = cameras.map(|camera| (camera.id.clone(), camera)).collect();
        let workers = kept.workers.iter().filter_map(|(id, bytes)| decoded::<Worker>(id, bytes));
        self.workers = workers.map(|worker| (worker.id().clone(), worker)).collect::<BTreeMap<_, _>>();
        for (id, camera) in &mut self.cameras {
            if !camera.enlisted {
                camera.set_places(self.file.get(id).cloned().unwrap_or_default());
            }
            let ended = camera.resume(&self.ways, now);
            camera.live.due |= !ended.is_empty();
            self.outbound.alerts.extend(ended);
        }
        for worker in self.workers.values_mut() {
            let ended = worker.resume(&self.ways.rules, now);
            worker.due |= !ended.is_empty();
            self.outbound.alerts.extend(ended);
        }
    }
}

/// MessagePack with field names: it keeps every bit of a number, also infinities, and allows missing fields.
fn encoded<T: serde::Serialize>(id: &str, value: &T) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(value)
        .map_err(|error| tracing::error!(id, %error, "cannot encode a state, it is not saved"))
        .ok()
}

fn decoded<T: serde::de::DeserializeOwned>(id: &str, bytes: &[u8]) -> Option<T> {
    rmp_serde::from_slice(bytes)
        .map_err(|error| tracing::warn!(id, %error, "cannot decode a saved state, it is reset"))
        .ok()
}
