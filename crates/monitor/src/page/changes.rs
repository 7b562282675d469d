//! The changes since the last update of the web page.

use std::collections::{BTreeMap, BTreeSet};

use lookout_schema::{CameraId, Timestamp};

use super::{CameraView, Overview};

/// The last view sent for each camera, and when.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    sent: BTreeMap<CameraId, (Timestamp, CameraView)>,
}

/// The interval at which a camera is sent again if only its figures change. Updates of 500 cameras every
/// second are too much for a phone.
const FIGURES_MS: i64 = 4_000;

impl Changes {
    /// Returns the overview with only the cameras that are due for an update.
    pub(crate) fn of(&mut self, overview: &Overview) -> Overview {
        let now = overview.now;
        let is_due = |view: &CameraView| match self.sent.get(&view.id) {
            None => true,
            Some((_, sent)) if !sent.looks_like(view) => true,
            Some((at, sent)) => now.ms_since(*at) >= FIGURES_MS && sent != view,
        };
        let due: Vec<CameraView> = overview.cameras.iter().filter(|view| is_due(view)).cloned().collect();
        for view in &due {
            self.sent.insert(view.id.clone(), (now, view.clone()));
        }
        let mut gone = Vec::new();
        if self.sent.len() > overview.cameras.len() {
            let there: BTreeSet<&CameraId> = overview.cameras.iter().map(|view| &view.id).collect();
            gone.extend(self.sent.extract_if(.., |id, _| !there.contains(id)).map(|(id, _)| id));
        }
        let (workers, notices) = (overview.workers.clone(), overview.notices.clone());
        Overview { cameras: due, workers, notices, gone, ..*overview }
    }
}
