//! What is kept at once, and how the state goes on from it.

use std::collections::BTreeMap;

use lookout_broker::{Places, TopicIds};
use lookout_schema::{AlertRecord, CameraId, Timestamp, WorkerId};

use super::{Bucket, Camera, State, Worker};

/// What is to be kept, in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    /// Where to go on; none where only a part is kept, of which each camera says itself what it has heard.
    pub(crate) places: Option<(Places, TopicIds)>,
    pub(crate) cameras: Vec<(CameraId, Vec<u8>)>,
    pub(crate) workers: Vec<(WorkerId, Vec<u8>)>,
    pub(crate) gone: Vec<CameraId>,
    pub(crate) gone_workers: Vec<WorkerId>,
    pub(crate) buckets: Vec<(CameraId, Bucket)>,
    /// Ours, to be told once they are kept.
    pub(crate) alerts: Vec<AlertRecord>,
    /// Of the alerts' topic.
    pub(crate) read: Vec<AlertRecord>,
}

/// What was kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) places: Places,
    /// Of the topics to which the places belong.
    pub(crate) topic_ids: TopicIds,
    pub(crate) cameras: Vec<(String, Vec<u8>)>,
    pub(crate) workers: Vec<(String, Vec<u8>)>,
}

impl State {
    /// Whether something waits to be kept before it can be told.
    pub(crate) fn is_due(&self) -> bool {
        let told = &self.told;
        !(told.alerts.is_empty() && told.read.is_empty() && told.buckets.is_empty())
    }

    /// What is to be kept now: all that has changed, or, where not `all`, what alerts and history rest on.
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
        let told = &mut self.told;
        checkpoint.gone = std::mem::take(&mut told.gone);
        checkpoint.gone_workers = std::mem::take(&mut told.gone_workers);
        checkpoint.buckets = std::mem::take(&mut told.buckets);
        checkpoint.alerts = std::mem::take(&mut told.alerts);
        checkpoint.read = std::mem::take(&mut told.read);
        checkpoint
    }

    /// Goes on from what was kept. What of it cannot be read, because another version wrote it, begins anew.
    pub(crate) fn go_on(&mut self, kept: Kept, now: Timestamp) {
        self.places.clone_from(&kept.places);
        self.topic_ids = kept.topic_ids;
        self.begun = kept.places;
        let cameras = kept.cameras.iter().filter_map(|(id, bytes)| decoded::<Camera>(id, bytes));
        self.cameras = cameras.map(|camera| (camera.id.clone(), camera)).collect();
        let workers = kept.workers.iter().filter_map(|(id, bytes)| decoded::<Worker>(id, bytes));
        self.workers = workers.map(|worker| (worker.id().clone(), worker)).collect::<BTreeMap<_, _>>();
        for (id, camera) in &mut self.cameras {
            if !camera.enlisted {
                camera.set_places(self.file.get(id).cloned().unwrap_or_default());
            }
            let ended = camera.go_on(&self.ways, now);
            camera.live.due |= !ended.is_empty();
            self.told.alerts.extend(ended);
        }
        for worker in self.workers.values_mut() {
            let ended = worker.go_on(&self.ways.rules, now);
            worker.due |= !ended.is_empty();
            self.told.alerts.extend(ended);
        }
    }
}

/// MessagePack by field names: numbers keep every bit, infinities too, and a field may be left out.
fn encoded<T: serde::Serialize>(id: &str, value: &T) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(|error| tracing::error!(id, %error, "a state cannot be kept")).ok()
}

fn decoded<T: serde::de::DeserializeOwned>(id: &str, bytes: &[u8]) -> Option<T> {
    rmp_serde::from_slice(bytes)
        .map_err(|error| tracing::warn!(id, %error, "a state that was kept begins anew"))
        .ok()
}
