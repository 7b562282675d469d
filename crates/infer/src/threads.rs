//! Starts the threads and holds them.

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
use lookout_batch::{BatchPolicy, Batcher};
use lookout_stage::{CameraQueue, Detect, Stop};

use crate::{
    DeviceEvent,
    device::{Device, Prepared},
    feeder::Feeder,
    pace::Pace,
    turns::Turns,
};

/// Makes a network anew after it has panicked or kept failing; the reason where it cannot.
pub type Rebuild = Arc<dyn Fn() -> Result<Box<dyn Detect>, String> + Send + Sync>;

#[derive(Debug, Clone, Copy)]
pub struct InferSettings {
    pub policy: BatchPolicy,
    /// Make up the next batch while the device works on one. A GPU never waits then; on the CPU, where the
    /// batcher's own time costs nothing beside the network's, a batch made up later is fuller and fresher.
    pub prefetch: bool,
    /// How long the network's first pass took for each frame, where that is known: batches of live frames are sized
    /// by it until there are measurements.
    pub first_pass: Option<Duration>,
}

/// How frames and signals come in.
#[derive(Debug)]
pub struct Inlets {
    /// Cameras to take in; once it is closed and every camera has ended, the threads end.
    pub cameras: Receiver<CameraQueue>,
    /// Both ends of the channel by which the cameras say that there are frames; the device uses it too.
    pub wake: (Sender<()>, Receiver<()>),
    /// Ends the threads at once; frames not yet at the device are dropped.
    pub abandon: Stop,
}

/// The running threads of one device.
#[derive(Debug)]
pub struct InferThreads(Vec<JoinHandle<()>>);

impl InferThreads {
    pub(crate) fn of(threads: Vec<JoinHandle<()>>) -> Self {
        Self(threads)
    }

    /// Whether every thread has ended.
    pub fn is_finished(&self) -> bool {
        self.0.iter().all(JoinHandle::is_finished)
    }
}

/// Starts a batch thread, and a device thread for each of `detectors`: so many batches are looked at side by
/// side. `emit` is called on the device threads, in the order of the batches; while it blocks, the device
/// stands still.
pub fn start(
    settings: InferSettings,
    detectors: Vec<Box<dyn Detect>>,
    rebuild: &Rebuild,
    inlets: Inlets,
    emit: impl Fn(DeviceEvent) + Clone + Send + 'static,
) -> io::Result<InferThreads> {
    let streams = detectors.len();
    // A place for each stream, and one for the batch that is made up ahead.
    let (handover, batches) = bounded(streams + 1);
    let outstanding = Arc::new(AtomicUsize::new(0));
    let (pace, turns) = (Arc::new(Pace::with_guess(settings.first_pass)), Arc::new(Turns::default()));
    let (wake, woken) = inlets.wake;
    let feeder = Feeder {
        batcher: Batcher::new(settings.policy),
        streams,
        prefetch: settings.prefetch,
        cameras: inlets.cameras,
        woken,
        handover,
        outstanding: Arc::clone(&outstanding),
        pace: Arc::clone(&pace),
        abandon: inlets.abandon.clone(),
        alone: false,
    };
    let at_work = Arc::new(AtomicU32::new(0));
    let mut threads = vec![thread::Builder::new().name("batch".into()).spawn(move || feeder.run())?];
    for (stream, detector) in detectors.into_iter().enumerate() {
        let device = Device {
            detector,
            rebuild: Arc::clone(rebuild),
            batches: batches.clone(),
            outstanding: Arc::clone(&outstanding),
            pace: Arc::clone(&pace),
            turns: Arc::clone(&turns),
            at_work: Arc::clone(&at_work),
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
