//! Answers the queries of the HTTP handlers.

use std::sync::PoisonError;

use lookout_schema::{CameraId, Timestamp};

use super::{ConsumerLoop, LoopState};
use crate::{
    page::{Around, CameraView, Details, Overview, WorkerView, rounded},
    shared::StateQuery,
    state::Camera,
};

impl ConsumerLoop {
    pub(super) fn answer(&self, ask: StateQuery, loop_state: &LoopState) {
        // The caller may have been cancelled, so a failed send is not an error.
        match ask {
            StateQuery::Details(id, answer) => {
                let _ = answer.send(self.details(&id, loop_state).map(Box::new));
            }
            StateQuery::Bucket(id, answer) => {
                let _ = answer.send(self.state.cameras.get(&id).map(|camera| camera.bucket.clone()));
            }
            StateQuery::Spec(id, answer) => {
                let _ = answer.send(self.state.registry.get(&id).cloned());
            }
        }
    }

    fn details(&self, id: &CameraId, loop_state: &LoopState) -> Option<Details> {
        match self.state.cameras.get(id) {
            Some(camera) => Some(Details::new(self.view(camera, loop_state, Timestamp::now()), camera)),
            None => self.state.registry.get(id).map(|spec| Details::without_records(spec)),
        }
    }

    fn view(&self, camera: &Camera, loop_state: &LoopState, now: Timestamp) -> CameraView {
        let snapshots = self.shared.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        let snapshot_seq = snapshots.get(&camera.id).map(|snapshot| snapshot.seq);
        let alerts_open = loop_state.alerts_open.get(camera.id.as_str()).copied().unwrap_or(0);
        CameraView::new(camera, Around { now, snapshot_seq, alerts_open })
    }

    pub(super) fn overview(&self, loop_state: &LoopState, records_per_s: f64) -> Overview {
        let now = Timestamp::now();
        let mut cameras: Vec<CameraView> =
            self.state.cameras.values().map(|camera| self.view(camera, loop_state, now)).collect();
        cameras.extend(self.state.without_records().map(CameraView::without_records));
        Overview {
            now,
            records_per_s: rounded(records_per_s),
            lag_s: rounded(self.state.counts.lag_ms.max(0) as f64 / 1e3),
            unreadable: self.state.counts.unreadable.values().sum(),
            notices: loop_state.reading.shown(),
            alerts_open: loop_state.alerts_open.values().sum(),
            cameras,
            workers: self.state.workers.values().map(|worker| WorkerView::new(worker, now)).collect(),
            ..Overview::empty(self.settings.token.is_some())
        }
    }
}
