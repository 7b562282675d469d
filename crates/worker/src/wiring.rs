//! Wires the stages, the last one first, so that each finds the one after it ready.

use std::{num::NonZeroUsize, sync::Arc};

use anyhow::{Context, Result};
use crossbeam_channel::bounded;
use lookout_batch::BatchPolicy;
use lookout_config::PipelineSettings;
use lookout_infer::{InferSettings, InferThreads, Inlets};
use lookout_schema::WorkerId;
use lookout_stage::{CameraReport, RecordSink, StopOnDrop, Tenure, stop_signal};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    camera::CameraContext,
    metrics::Metrics,
    parts::Parts,
    recorder::{Latencies, Recorder},
    reports,
    roster::{Roster, Wish},
    snapshots::Snapshots,
};

/// Batches that may wait to become records, which takes far less time than a batch.
const BRIDGE: usize = 16;
/// Cameras that may wait for the batch thread to take them in.
const CAMERAS: usize = 64;

/// The running stages.
pub(crate) struct Stages {
    pub(crate) roster: Roster,
    pub(crate) reports: mpsc::Receiver<CameraReport>,
    pub(crate) infer: InferThreads,
    /// Ends once the device has ended and every result is a record.
    pub(crate) recorder: JoinHandle<Latencies>,
    /// Ends the batch and device threads at once.
    pub(crate) abandon: Option<StopOnDrop>,
}

/// Room for a whole batch in each file's queue, since the device takes what there is, and in all of them
/// together for batches ahead: while the cores are busy with the network, a file is read in bursts.
fn file_room(max_batch: NonZeroUsize, cameras: usize) -> NonZeroUsize {
    const BATCHES_AHEAD: usize = 4;
    let share = (max_batch.get() * BATCHES_AHEAD).div_ceil(cameras.max(1));
    NonZeroUsize::new(share).map_or(max_batch, |share| share.max(max_batch))
}

/// Starts every stage. Within a tokio runtime.
pub(crate) fn start(
    settings: &PipelineSettings,
    parts: Parts,
    worker: &WorkerId,
    metrics: &Arc<Metrics>,
) -> Result<Stages> {
    let sink: Arc<dyn RecordSink> = parts.sink;
    let snapshots = settings
        .snapshots
        .map(|snapshots| Snapshots::start(snapshots, Arc::clone(&sink), Arc::clone(metrics)))
        .transpose()
        .context("the snapshots' thread could not be started")?;
    let recorder = Recorder {
        sink,
        worker: worker.clone(),
        model: parts.model,
        classifier: parts.classifier,
        metrics: Arc::clone(metrics),
        latencies: Latencies::new(),
        snapshots,
    };
    let (bridge, events) = mpsc::channel(BRIDGE);
    let recorder = tokio::spawn(recorder.run(events));

    let max_batch = NonZeroUsize::new(settings.batch.max_size).context("a batch of no frames")?;
    let wake = bounded(1);
    // A fleet's cameras are handed on while the batch thread may wait for the device.
    let (cameras, inlet) = bounded(if settings.fleet.is_some() { CAMERAS } else { 1 });
    let (abandon, abandoned) = stop_signal();
    let infer = lookout_infer::start(
        InferSettings {
            policy: BatchPolicy {
                max_size: max_batch,
                max_wait: settings.batch.max_wait,
                max_age: settings.batch.max_age,
            },
            prefetch: parts.prefetch,
        },
        parts.detectors,
        &parts.rebuild,
        Inlets { cameras: inlet, wake: wake.clone(), abandon: abandoned },
        // The recorder outlives the device, so this cannot fail.
        move |event| drop(bridge.blocking_send(event)),
    )
    .context("the device's threads could not be started")?;

    let (from_cameras, reports) = reports::channel().context("the reports' thread could not be started")?;
    let context = CameraContext {
        make_source: parts.make_source,
        reports: from_cameras,
        wake: wake.0,
        file_room: file_room(max_batch, settings.cameras.len()),
        metrics: Arc::clone(metrics),
    };
    let mut roster = Roster::new(context, cameras);
    for camera in &settings.cameras {
        let wish = Wish { settings: camera.clone(), tenure: Tenure::for_ever() };
        roster.start(wish).with_context(|| format!("camera {} could not be started", camera.id))?;
    }
    if settings.fleet.is_none() {
        roster.close();
    }
    Ok(Stages { roster, reports, infer, recorder, abandon: Some(abandon) })
}
