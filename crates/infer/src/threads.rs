//! Starts the threads and holds them.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use lookout_batch::{BatchPolicy, Batcher};
use lookout_stage::{CameraQueue, Detect, Stop};

use crate::{DeviceEvent, device::Device, feeder::Feeder};

/// Makes the network anew after it has panicked or kept failing; the reason where it cannot.
pub type Rebuild = Box<dyn FnMut() -> Result<Box<dyn Detect>, String> + Send>;

#[derive(Debug, Clone, Copy)]
pub struct InferSettings {
    pub policy: BatchPolicy,
    /// Make up the next batch while the device works on one. A GPU never waits then; on the CPU, where the
    /// batcher's own time costs nothing beside the network's, a batch made up later is fuller and fresher.
    pub prefetch: bool,
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
    /// Whether every thread has ended.
    pub fn is_finished(&self) -> bool {
        self.0.iter().all(JoinHandle::is_finished)
    }
}

/// Starts a batch thread and a device thread. `emit` is called on the device thread; while it blocks, the
/// device stands still.
pub fn start(
    settings: InferSettings,
    detector: Box<dyn Detect>,
    rebuild: Rebuild,
    inlets: Inlets,
    emit: impl FnMut(DeviceEvent) + Send + 'static,
) -> io::Result<InferThreads> {
    let (handover, batches) = bounded(1);
    let idle = Arc::new(AtomicBool::new(false));
    let (wake, woken) = inlets.wake;
    let device =
        Device { detector, rebuild, batches, idle: Arc::clone(&idle), wake, abandon: inlets.abandon.clone() };
    let feeder = Feeder {
        batcher: Batcher::new(settings.policy),
        prefetch: settings.prefetch,
        cameras: inlets.cameras,
        woken,
        handover,
        idle,
        abandon: inlets.abandon,
    };
    Ok(InferThreads(vec![
        thread::Builder::new().name("batch".into()).spawn(move || feeder.run())?,
        thread::Builder::new().name("device".into()).spawn(move || device.run(emit))?,
    ]))
}
