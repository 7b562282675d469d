//! Model replicas: one instance of a network per stream of a device, all sharing one copy of the weights.

use std::{
    fmt,
    time::{Duration, Instant},
};

use lookout_config::{ClassifySettings, ModelSettings, TORCHSCRIPT};
use lookout_schema::ModelInfo;
use lookout_stage::Detect;

use crate::{Labels, Loaded, ModelError, Streams, graphs::batch_sizes, load::load_stream};

/// A step of loading a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStep {
    /// Reads the weights and builds the network.
    Read,
    /// Runs the network once, which packs its weights for the processor.
    Prepare,
    /// On a GPU, runs each batch size once, which records its CUDA graph.
    Record,
}

/// Time limit of [`LoadStep::Record`]. The remaining batch sizes are recorded when the device is idle, or when they are
/// first needed.
const RECORDING: Duration = Duration::from_secs(60);

impl fmt::Display for LoadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading the weights",
            Self::Prepare => "preparing the weights for this processor (one forward pass)",
            Self::Record => "recording a CUDA graph for each batch size",
        })
    }
}

/// The replicas of a network on one device, ready for frames.
pub struct Replicas {
    /// One replica per stream.
    pub detectors: Vec<Box<dyn Detect>>,
    pub info: ModelInfo,
    /// The secondary classifier, if there is one.
    pub classifier: Option<ModelInfo>,
    /// The names of the network's classes.
    pub labels: Labels,
    /// Duration of the first forward pass per image, with all threads. Later passes are faster.
    pub first_pass: Duration,
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas")
            .field("count", &self.detectors.len())
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Loads the network of `settings` once, with the secondary classifier of `classify`, and creates one replica per
/// stream.
///
/// One forward pass is made, with all threads. `on_step` is called at the start of each step; loading is cancelled if
/// it returns false.
///
/// # Errors
/// As for [`load_stream`]; or the network fails on its input, or `on_step` returned false.
pub fn load_replicas(
    settings: &ModelSettings,
    classify: Option<&ClassifySettings>,
    streams: &Streams,
    max_batch: usize,
    on_step: &dyn Fn(LoadStep) -> bool,
) -> Result<Replicas, ModelError> {
    let start_step = |step| if on_step(step) { Ok(()) } else { Err(ModelError::Cancelled) };
    start_step(LoadStep::Read)?;
    let mut first: Loaded = load_stream(settings, classify, streams)?;
    start_step(LoadStep::Prepare)?;
    // A TorchScript module may support only one batch size. Loading has already run it on a single image.
    let batch = if settings.arch == TORCHSCRIPT { max_batch.clamp(1, 2) } else { 1 };
    let started = Instant::now();
    first.warm_up(batch)?;
    let first_pass = started.elapsed() / batch as u32;
    let is_gpu = first.target.is_gpu();
    let more: Vec<_> = (1..streams.count().get()).map(|_| first.replica()).collect();
    let (info, classifier, labels) = (first.info.clone(), first.classifier.clone(), first.labels.clone());
    let mut networks: Vec<Loaded> = std::iter::once(first).chain(more).collect();
    if is_gpu {
        start_step(LoadStep::Record)?;
        record(&mut networks, max_batch);
    }
    let detectors = networks.into_iter().map(|network| -> Box<dyn Detect> { network.detector }).collect();
    Ok(Replicas { detectors, info, classifier, labels, first_pass })
}

/// Runs each batch size on each network, on this thread, because cuDNN chooses its algorithms per thread.
fn record(networks: &mut [Loaded], max_batch: usize) {
    let started = Instant::now();
    for size in batch_sizes(max_batch) {
        for network in &mut *networks {
            if started.elapsed() > RECORDING {
                return;
            }
            if let Err(error) = network.warm_up(size) {
                // The batches of this size will hit the same error, and the worker handles it there.
                tracing::warn!(size, %error, "cannot record the CUDA graph of a batch size");
                return;
            }
        }
    }
}
