//! Wires the stages: starts the cameras at once, and the stages behind their queues when the network is loaded.

use std::{future::Future, num::NonZeroUsize, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use crossbeam_channel::bounded;
use lookout_config::PipelineSettings;
use lookout_infer::{BatchPolicy, InferSettings, InferThreads, Inlets, ReloadModel};
use lookout_schema::{ModelInfo, WorkerId};
use lookout_stage::{CameraReport, Detect, Ownership, RecordSink, StopOnDrop, stop_signal};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    camera::DesiredCamera,
    camera_thread::CameraContext,
    components::MakeSource,
    metrics::Metrics,
    recorder::{DeviceLost, Latencies, Recorder},
    report_channel,
    roster::Roster,
    snapshots::Snapshots,
};

/// Maximum number of batches that wait for the recorder, which takes far less time than the device.
const BRIDGE: usize = 16;
/// Maximum number of a fleet's cameras that wait to be added to the batcher.
const CAMERAS: usize = 64;

/// The running stages.
pub(crate) struct Stages {
    pub(crate) roster: Roster,
    pub(crate) reports: mpsc::Receiver<CameraReport>,
    /// Receives why the device was lost.
    pub(crate) lost: mpsc::Receiver<DeviceLost>,
    /// The batch and device threads; `None` until the network is loaded.
    pub(crate) infer: Option<InferThreads>,
    /// The recorder, which ends once the device has ended and every result is a record; `None` until the network is
    /// loaded.
    pub(crate) recorder: Option<JoinHandle<Latencies>>,
    /// Stops the batch and device threads at once when dropped.
    pub(crate) abandon: Option<StopOnDrop>,
    behind: Option<Behind>,
}

/// The parts of the stages behind the cameras' queues.
struct Behind {
    inlets: Inlets,
    sink: Arc<dyn RecordSink>,
    reload: ReloadModel,
    prefetch: bool,
    snapshots: Option<Snapshots>,
    lost: mpsc::Sender<DeviceLost>,
    worker: WorkerId,
    metrics: Arc<Metrics>,
}

/// Returns the capacity of each file's queue: a whole batch, since the device takes all available frames, and in all
/// queues together several batches ahead, since files are read in bursts while the network keeps the cores busy.
fn file_room(max_batch: NonZeroUsize, cameras: usize) -> NonZeroUsize {
    const BATCHES_AHEAD: usize = 4;
    let share = (max_batch.get() * BATCHES_AHEAD).div_ceil(cameras.max(1));
    NonZeroUsize::new(share).map_or(max_batch, |share| share.max(max_batch))
}

/// The components of a worker that the stages need.
pub(crate) struct StageParts {
    pub(crate) sink: Arc<dyn RecordSink>,
    pub(crate) make_source: MakeSource,
    pub(crate) reload: ReloadModel,
    pub(crate) prefetch: bool,
}

/// Starts the cameras, whose frames wait in their queues until [`Stages::attach`] is called. Must be called within a
/// tokio runtime.
pub(crate) fn start(
    settings: &PipelineSettings,
    parts: StageParts,
    worker: &WorkerId,
    metrics: &Arc<Metrics>,
) -> Result<Stages> {
    let StageParts { sink, make_source, reload, prefetch } = parts;
    let snapshots = settings
        .snapshots
        .map(|snapshots| Snapshots::start(snapshots, Arc::clone(&sink), Arc::clone(metrics)))
        .transpose()
        .context("the snapshots' thread could not be started")?;
    let max_batch = max_batch(settings, prefetch)?;
    let wake = bounded(1);
    // New cameras wait in this channel until the network is loaded.
    let places = if settings.fleet.is_some() { CAMERAS } else { settings.cameras.len().max(1) };
    let (cameras, inlet) = bounded(places);
    let (abandon, abandoned) = stop_signal();
    let (lost_to, lost) = mpsc::channel(1);
    let behind = Behind {
        inlets: Inlets { cameras: inlet, wake: wake.clone(), abandon: abandoned },
        sink,
        reload,
        prefetch,
        snapshots,
        lost: lost_to,
        worker: worker.clone(),
        metrics: Arc::clone(metrics),
    };

    let (from_cameras, reports) =
        report_channel::channel().context("the reports' thread could not be started")?;
    let context = CameraContext {
        make_source,
        reports: from_cameras,
        wake: wake.0,
        file_room: file_room(max_batch, settings.cameras.len()),
        metrics: Arc::clone(metrics),
    };
    let mut roster = Roster::new(context, cameras);
    for camera in &settings.cameras {
        let desired = DesiredCamera { settings: camera.clone(), ownership: Ownership::without_end() };
        roster.start(desired).with_context(|| format!("camera {} could not be started", camera.id))?;
    }
    if settings.fleet.is_none() {
        roster.close();
    }
    Ok(Stages {
        roster,
        reports,
        lost,
        infer: None,
        recorder: None,
        abandon: Some(abandon),
        behind: Some(behind),
    })
}

impl Stages {
    /// Returns whether the network is loaded.
    pub(crate) fn has_network(&self) -> bool {
        self.infer.is_some()
    }

    /// Starts the stages behind the cameras' queues, sink first, so that the stage after each one is ready before it
    /// starts. Must be called within a tokio runtime.
    pub(crate) fn attach(&mut self, settings: &PipelineSettings, network: StageNetwork) -> Result<()> {
        let Some(Behind { inlets, sink, reload, prefetch, snapshots, lost, worker, metrics }) =
            self.behind.take()
        else {
            return Ok(());
        };
        let StageNetwork { detectors, first_pass, model, classifier } = network;
        let recorder = Recorder {
            sink,
            worker,
            model,
            classifier,
            metrics,
            latencies: Latencies::new(),
            snapshots,
            lost,
        };
        let (bridge, events) = mpsc::channel(BRIDGE);
        let infer = lookout_infer::start(
            InferSettings {
                policy: BatchPolicy {
                    max_size: max_batch(settings, prefetch)?,
                    max_wait: settings.batch.max_wait,
                    max_age: settings.batch.max_age,
                },
                prefetch,
                first_pass,
            },
            detectors,
            &reload,
            inlets,
            // The recorder outlives the device, so this cannot fail.
            move |event| drop(bridge.blocking_send(event)),
        )
        .context("the device's threads could not be started")?;
        self.recorder = Some(tokio::spawn(recorder.run(events)));
        self.infer = Some(infer);
        Ok(())
    }

    /// Drops the frames of the stopped cameras if no network was loaded. `over` completes when there is nothing else to
    /// wait for. Must be called within a tokio runtime.
    pub(crate) fn discard(&mut self, over: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Some(Behind { inlets, .. }) = self.behind.take() else { return Ok(()) };
        let infer = lookout_infer::discard(inlets).context("the batch thread could not be started")?;
        self.recorder = Some(tokio::spawn(async move {
            over.await;
            let mut look = tokio::time::interval(Duration::from_millis(20));
            while !infer.is_finished() {
                look.tick().await;
            }
            Latencies::new()
        }));
        Ok(())
    }
}

/// The parts of a loaded network that the stages need.
pub(crate) struct StageNetwork {
    pub(crate) detectors: Vec<Box<dyn Detect>>,
    pub(crate) first_pass: Option<Duration>,
    pub(crate) model: ModelInfo,
    pub(crate) classifier: Option<ModelInfo>,
}

fn max_batch(settings: &PipelineSettings, on_gpu: bool) -> Result<NonZeroUsize> {
    NonZeroUsize::new(settings.batch.largest(on_gpu))
        .context("the maximum batch size is 0, it must be at least 1")
}
