//! Starts the batch and device threads, and owns their handles.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use lookout_stage::{CameraQueue, Detect, Stop};

use crate::{
    BatchPolicy, DeviceEvent, ReloadModel,
    batch_scheduler::BatchScheduler,
    batcher::Batcher,
    device::{Device, Prepared},
    sequencer::Sequencer,
    time_per_frame::TimePerFrame,
};

#[derive(Debug, Clone, Copy)]
pub struct InferSettings {
    pub policy: BatchPolicy,
    /// Whether the next batch is prepared while the device runs one. A GPU then never waits. On a CPU, preparing a
    /// batch costs little beside inference, and a batch that is prepared later is fuller and fresher.
    pub prefetch: bool,
    /// The time per frame of the network's first pass, if known. Batches of live frames are sized by it until there are
    /// measurements.
    pub first_pass: Option<Duration>,
}

/// The channels by which frames and signals arrive.
#[derive(Debug)]
pub struct Inlets {
    /// New cameras. Once this is closed and every camera has ended, the threads end.
    pub cameras: Receiver<CameraQueue>,
    /// Both ends of the channel by which cameras report new frames. The device uses it too.
    pub wake: (Sender<()>, Receiver<()>),
    /// Stops the threads at once; frames that have not reached the device are dropped.
    pub abandon: Stop,
}

/// The running threads of one device.
#[derive(Debug)]
pub struct InferThreads(Vec<JoinHandle<()>>);

impl InferThreads {
    pub(crate) fn of(threads: Vec<JoinHandle<()>>) -> Self {
        Self(threads)
    }

    /// Returns whether every thread has ended.
    pub fn is_finished(&self) -> bool {
        self.0.iter().all(JoinHandle::is_finished)
    }
}

/// Starts a batch thread and one device thread for each of `detectors`, which run batches in parallel. `emit` is called
/// on the device threads, in the order of the batches; while it blocks, the device is blocked.
///
/// # Errors
/// Returns an error if a thread cannot be started.
pub fn start(
    settings: InferSettings,
    detectors: Vec<Box<dyn Detect>>,
    reload: &ReloadModel,
    inlets: Inlets,
    emit: impl Fn(DeviceEvent) + Clone + Send + 'static,
) -> io::Result<InferThreads> {
    let streams = detectors.len();
    // One slot for each stream, and one for the prefetched batch.
    let (handover, batches) = bounded(streams + 1);
    let outstanding = Arc::new(AtomicUsize::new(0));
    let time_per_frame = Arc::new(TimePerFrame::with_guess(settings.first_pass));
    let sequencer = Arc::new(Sequencer::default());
    let (wake, woken) = inlets.wake;
    let scheduler = BatchScheduler {
        batcher: Batcher::new(settings.policy),
        streams,
        prefetch: settings.prefetch,
        cameras: inlets.cameras,
        woken,
        handover,
        outstanding: Arc::clone(&outstanding),
        time_per_frame: Arc::clone(&time_per_frame),
        abandon: inlets.abandon.clone(),
        alone: false,
    };
    let active_streams = Arc::new(AtomicU32::new(0));
    let mut threads = vec![thread::Builder::new().name("batch".into()).spawn(move || scheduler.run())?];
    for (stream, detector) in detectors.into_iter().enumerate() {
        let device = Device {
            detector,
            reload: Arc::clone(reload),
            batches: batches.clone(),
            outstanding: Arc::clone(&outstanding),
            time_per_frame: Arc::clone(&time_per_frame),
            sequencer: Arc::clone(&sequencer),
            active_streams: Arc::clone(&active_streams),
            max_batch: settings.policy.max_size.get(),
            prepared: Prepared::default(),
            wake: wake.clone(),
            abandon: inlets.abandon.clone(),
        };
        let emit = emit.clone();
        threads
            .push(thread::Builder::new().name(format!("device-{stream}")).spawn(move || device.run(emit))?);
    }
    Ok(InferThreads(threads))
}
