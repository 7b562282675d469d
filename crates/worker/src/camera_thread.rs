//! A camera's thread: runs the source, restarts it after a panic, and reports how it ended.

use std::{
    io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::Sender;
use lookout_config::CameraSettings;
use lookout_schema::{CameraStatus, RetryReason};
use lookout_stage::{
    CameraLedger, CameraQueue, CameraReport, ExponentialBackoff, FrameSkip, Permits, SourceEnd, SourceOutlet,
    Stop, WhenFull, camera_queue, describe_panic,
};

use crate::{components::MakeSource, metrics::Metrics};

/// What all cameras share.
#[derive(Clone)]
pub(crate) struct CameraContext {
    pub(crate) make_source: MakeSource,
    pub(crate) reports: Sender<CameraReport>,
    pub(crate) wake: Sender<()>,
    /// Minimum capacity of a file's queue, in frames.
    pub(crate) file_room: NonZeroUsize,
    pub(crate) metrics: Arc<Metrics>,
}

/// What belongs to one camera.
pub(crate) struct CameraStart {
    pub(crate) settings: CameraSettings,
    pub(crate) ledger: Arc<CameraLedger>,
    pub(crate) frame_skip: FrameSkip,
    pub(crate) stop: Stop,
}

/// Starts a camera's thread and returns the receiving side of its queue.
pub(crate) fn start(
    camera: CameraStart,
    context: &CameraContext,
) -> io::Result<(CameraQueue, JoinHandle<()>)> {
    let CameraStart { settings, ledger, frame_skip, stop } = camera;
    let live = settings.uri.is_live();
    let capacity = if live { settings.queue } else { settings.queue.max(context.file_room) };
    let when_full = if live { WhenFull::DropOldest } else { WhenFull::Block };
    let (intake, queue) = camera_queue(capacity, when_full, context.wake.clone());
    let permits = (!live).then(|| Permits::new(settings.window.max(context.file_room)));
    let outlet = SourceOutlet { intake, ledger, permits, reports: context.reports.clone(), frame_skip, stop };
    let context = context.clone();
    let name = format!("cam-{}", settings.id);
    let thread = thread::Builder::new().name(name).spawn(move || run(&settings, &outlet, &context))?;
    Ok((queue, thread))
}

fn run(settings: &CameraSettings, outlet: &SourceOutlet, context: &CameraContext) {
    let mut backoff = ExponentialBackoff::new(settings.retry.first, settings.retry.max);
    let end = loop {
        let panic = match catch_unwind(AssertUnwindSafe(|| (context.make_source)(settings).run(outlet))) {
            Ok(end) => break end,
            Err(panic) => describe_panic(panic.as_ref()),
        };
        tracing::error!(camera = %settings.id, panic, "the camera's thread panicked");
        context.metrics.stage_restarted();
        // A restarted file would publish every frame twice.
        if !settings.uri.is_live() {
            break SourceEnd::Failed { reason: RetryReason::PipelineError, detail: panic };
        }
        report(settings, outlet, CameraStatus::Retrying, Some((RetryReason::PipelineError, panic)));
        if outlet.stop.wait(backoff.next_wait()) {
            break SourceEnd::Stopped;
        }
    };
    match end {
        SourceEnd::Ended => report(settings, outlet, CameraStatus::Ended, None),
        SourceEnd::Stopped => report(settings, outlet, CameraStatus::Stopped, None),
        SourceEnd::Failed { reason, detail } => {
            report(settings, outlet, CameraStatus::Failed, Some((reason, detail)));
        }
    }
}

fn report(
    settings: &CameraSettings,
    outlet: &SourceOutlet,
    status: CameraStatus,
    why: Option<(RetryReason, String)>,
) {
    let (retry, detail) = why.unzip();
    let report =
        CameraReport { camera: settings.id.clone(), status, session: None, clock: None, retry, detail };
    outlet.report(report);
}
