//! The roster: reconciles the worker's running cameras with the desired ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Sender;
use lookout_schema::{CameraId, CameraStatus, LedgerCounts};
use lookout_stage::{CameraLedger, CameraQueue, CameraReport, FrameSkip, Ownership, stop_signal};

use crate::{
    camera::{Camera, DesiredCamera, has_frames},
    camera_thread::{self, CameraContext, CameraStart},
};

/// All cameras of a worker, by id.
pub(crate) struct Roster {
    context: CameraContext,
    /// Sends new cameras' queues to the batch thread, which ends once this is closed and every camera has ended.
    inlet: Option<Sender<CameraQueue>>,
    cameras: BTreeMap<CameraId, Camera>,
    /// Cameras to be started.
    due: BTreeMap<CameraId, DesiredCamera>,
    /// The ledgers of removed cameras that still have frames in progress.
    departed: Vec<Arc<CameraLedger>>,
    /// The summed counters of removed cameras without frames in progress.
    gone: LedgerCounts,
}

/// Maximum number of cameras started per call: their pipelines are built in parallel, and each takes a while.
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

    /// Starts a camera. Blocks while the channel to the batch thread is full.
    pub(crate) fn start(&mut self, desired: DesiredCamera) -> io::Result<()> {
        let DesiredCamera { settings, ownership } = desired;
        let Some(inlet) = &self.inlet else { return Ok(()) };
        let ledger = CameraLedger::within(settings.id.clone(), ownership);
        let (stop, stopped) = stop_signal();
        let frame_skip = FrameSkip::default();
        let start = CameraStart {
            settings: settings.clone(),
            ledger: Arc::clone(&ledger),
            frame_skip: frame_skip.clone(),
            stop: stopped,
        };
        let (queue, thread) = camera_thread::start(start, &self.context)?;
        inlet.send(queue).map_err(|_| io::Error::other("the batch thread has ended"))?;
        let camera = Camera {
            settings,
            ledger,
            frame_skip,
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
            logged_retry: None,
            published_before: 0,
            fps: 0.0,
        };
        self.cameras.insert(camera.settings.id.clone(), camera);
        Ok(())
    }

    /// Closes the roster: no more cameras are started.
    pub(crate) fn close(&mut self) {
        self.inlet = None;
        self.due.clear();
    }

    /// Sets the desired state. Cameras that match it keep running; the others are stopped, and [`Roster::settle`]
    /// starts their replacements once they have ended.
    pub(crate) fn set_desired(&mut self, mut desired: BTreeMap<CameraId, DesiredCamera>) {
        for (id, camera) in &mut self.cameras {
            match desired.remove(id) {
                Some(desired) if camera.matches_desired(&desired) => {
                    camera.settings.priority = desired.settings.priority;
                }
                next => camera.leave(next),
            }
        }
        self.due = desired;
        if self.inlet.is_none() {
            self.close();
        }
    }

    /// Reconciles: removes stopped cameras that have ended, and starts some of the cameras that are due. Must be called
    /// at short intervals. Returns the cameras that were removed without a replacement.
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
            // No other sender fills the channel, so the send finds space and does not wait.
            if self.inlet.as_ref().is_none_or(Sender::is_full) {
                return;
            }
            let Some((id, desired)) = self.due.pop_first() else { return };
            if let Err(error) = self.start(desired.clone()) {
                // This happens mostly when no more threads can be created, and may be temporary.
                tracing::error!(camera = %id, %error, "camera could not be started, retrying");
                self.due.insert(id, desired);
                return;
            }
        }
    }

    /// Returns whether frames of `ownership` are in progress, or may still arrive.
    pub(crate) fn is_busy_with(&self, ownership: &Arc<Ownership>) -> bool {
        self.cameras
            .values()
            .any(|camera| Arc::ptr_eq(camera.ledger.ownership(), ownership) && camera.is_busy())
            || self.departed.iter().any(|ledger| Arc::ptr_eq(ledger.ownership(), ownership))
    }

    /// Stops every camera.
    pub(crate) fn stop_all(&mut self) {
        self.close();
        self.cameras.values_mut().for_each(|camera| camera.stop = None);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Camera> {
        self.cameras.values()
    }

    /// Applies a report, and returns its camera if it is in the roster.
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

    /// Returns the sum over all cameras, including removed ones.
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
