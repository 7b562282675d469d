//! The worker's cameras: which there are, and which there are to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Sender;
use lookout_config::CameraSettings;
use lookout_schema::{CameraId, CameraStatus, LedgerCounts};
use lookout_stage::{CameraLedger, CameraQueue, CameraReport, Tenure, Thinning, stop_signal};

use crate::{
    camera::{self, CameraContext, CameraStart},
    watched::{Camera, has_frames},
};

/// A camera as it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) settings: CameraSettings,
    pub(crate) tenure: Arc<Tenure>,
}

/// All cameras of a worker, by id.
pub(crate) struct Roster {
    context: CameraContext,
    /// To the batch thread, which ends once this is closed and every camera has ended.
    inlet: Option<Sender<CameraQueue>>,
    cameras: BTreeMap<CameraId, Camera>,
    /// What is to be started.
    due: BTreeMap<CameraId, Wish>,
    /// The accounts of cameras that have left, while frames of theirs are under way.
    departed: Vec<Arc<CameraLedger>>,
    /// The accounts of all before.
    gone: LedgerCounts,
}

/// Cameras that are started at a time: their pipelines are built side by side, and each takes a while.
const STARTS: usize = 16;

impl Roster {
    pub(crate) fn new(context: CameraContext, inlet: Sender<CameraQueue>) -> Self {
        Self {
            context,
            inlet: Some(inlet),
            cameras: BTreeMap::new(),
            due: BTreeMap::new(),
            departed: Vec::new(),
            gone: LedgerCounts::default(),
        }
    }

    /// Starts a camera. Waits for the batch thread where that has no room for one more.
    pub(crate) fn start(&mut self, wish: Wish) -> io::Result<()> {
        let Wish { settings, tenure } = wish;
        let Some(inlet) = &self.inlet else { return Ok(()) };
        let ledger = CameraLedger::within(settings.id.clone(), tenure);
        let (stop, stopped) = stop_signal();
        let thinning = Thinning::default();
        let start = CameraStart {
            settings: settings.clone(),
            ledger: Arc::clone(&ledger),
            thinning: thinning.clone(),
            stop: stopped,
        };
        let (queue, thread) = camera::start(start, &self.context)?;
        inlet.send(queue).map_err(|_| io::Error::other("the batch thread has ended"))?;
        let camera = Camera {
            settings,
            ledger,
            thinning,
            thread,
            stop: Some(stop),
            leaving: false,
            next: None,
            status: CameraStatus::Connecting,
            session: None,
            clock: None,
            retry: None,
            detail: None,
            reconnects: 0,
            told: None,
            published_before: 0,
            fps: 0.0,
        };
        self.cameras.insert(camera.settings.id.clone(), camera);
        Ok(())
    }

    /// No more cameras will come.
    pub(crate) fn close(&mut self) {
        self.inlet = None;
        self.due.clear();
    }

    /// From now on these are the cameras. Those that are as they should be go on untouched; the others stop,
    /// and what takes their place starts once they have, as [`Roster::settle`] finds.
    pub(crate) fn wish(&mut self, mut wishes: BTreeMap<CameraId, Wish>) {
        for (id, camera) in &mut self.cameras {
            match wishes.remove(id) {
                Some(wish) if camera.is_as(&wish) => camera.settings.priority = wish.settings.priority,
                next => camera.leave(next),
            }
        }
        self.due = wishes;
        if self.inlet.is_none() {
            self.close();
        }
    }

    /// Takes those out that have ended and were to leave, and starts some of what is to start; to be called
    /// every moment. Gives the cameras that are gone for good.
    pub(crate) fn settle(&mut self) -> Vec<CameraId> {
        let ended =
            |camera: &Camera| camera.leaving && camera.status.is_final() && camera.thread.is_finished();
        let ids: BTreeSet<CameraId> =
            self.cameras.iter().filter(|(_, camera)| ended(camera)).map(|(id, _)| id.clone()).collect();
        let mut gone = Vec::new();
        for id in ids {
            let Some(camera) = self.cameras.remove(&id) else { continue };
            self.departed.push(camera.ledger);
            match camera.next {
                Some(next) => drop(self.due.insert(id, next)),
                None => gone.push(id),
            }
        }
        let (under_way, settled) =
            std::mem::take(&mut self.departed).into_iter().partition(|l| has_frames(l));
        self.departed = under_way;
        settled.iter().for_each(|ledger| add(&mut self.gone, ledger.counts()));
        self.start_some();
        gone
    }

    fn start_some(&mut self) {
        for _ in 0..STARTS {
            // Only this end fills it, so the send finds room and does not wait.
            if self.inlet.as_ref().is_none_or(Sender::is_full) {
                return;
            }
            let Some((id, wish)) = self.due.pop_first() else { return };
            if let Err(error) = self.start(wish.clone()) {
                // Out of threads, mostly; it may pass.
                tracing::error!(camera = %id, %error, "a camera could not be started, it is tried again");
                self.due.insert(id, wish);
                return;
            }
        }
    }

    /// Whether frames of `tenure` are under way, or may come.
    pub(crate) fn is_busy_with(&self, tenure: &Arc<Tenure>) -> bool {
        self.cameras.values().any(|camera| Arc::ptr_eq(camera.ledger.tenure(), tenure) && camera.is_busy())
            || self.departed.iter().any(|ledger| Arc::ptr_eq(ledger.tenure(), tenure))
    }

    /// Tells every camera to stop.
    pub(crate) fn stop_all(&mut self) {
        self.close();
        self.cameras.values_mut().for_each(|camera| camera.stop = None);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Camera> {
        self.cameras.values()
    }

    /// Takes note of a report; gives the camera where it is one of ours.
    pub(crate) fn apply(&mut self, report: CameraReport) -> Option<&Camera> {
        let camera = self.cameras.get_mut(&report.camera)?;
        camera.apply(report);
        Some(camera)
    }

    /// Measures each camera's rate since the last call, `interval` ago.
    pub(crate) fn measure(&mut self, interval: Duration) {
        for camera in self.cameras.values_mut() {
            let published = camera.ledger.counts().published;
            let seconds = interval.as_secs_f64().max(f64::EPSILON);
            camera.fps = (published - camera.published_before) as f64 / seconds;
            camera.published_before = published;
        }
    }

    /// The sum over all cameras, those that have left too.
    pub(crate) fn total(&self) -> LedgerCounts {
        let mut total = self.gone.clone();
        let ledgers = self.iter().map(|camera| &camera.ledger).chain(&self.departed);
        ledgers.for_each(|ledger| add(&mut total, ledger.counts()));
        total
    }
}

fn add(total: &mut LedgerCounts, counts: LedgerCounts) {
    total.received += counts.received;
    total.processing += counts.processing;
    total.published += counts.published;
    total.delivered += counts.delivered;
    total.in_flight += counts.in_flight;
    total.spooled += counts.spooled;
    for (cause, frames) in counts.dropped {
        *total.dropped.entry(cause).or_default() += frames;
    }
    for (cause, records) in counts.expired {
        *total.expired.entry(cause).or_default() += records;
    }
}
