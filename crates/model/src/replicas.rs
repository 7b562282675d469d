//! A network for each stream of a device, all on one copy of the weights.

use std::{
    fmt,
    time::{Duration, Instant},
};

use lookout_config::{ClassifySettings, ModelSettings, TORCHSCRIPT};
use lookout_schema::ModelInfo;
use lookout_stage::Detect;

use crate::{Labels, Loaded, ModelError, Streams, graphs::batch_sizes, load::load_stream};

/// A network that other threads can have as well.
pub trait Replica: Detect {
    /// Returns the same network for another thread. It shares the weights, in the layout of the processor once a
    /// batch was run; nothing is copied.
    fn replica(&self) -> Box<dyn Replica>;
}

/// What loading a network is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStep {
    /// Reads the weights and builds the network.
    Read,
    /// Runs the network once, which lays out its weights for the processor.
    Prepare,
    /// Runs each batch size on a GPU, which records the work for it.
    Record,
}

/// The time for [`LoadStep::Record`]; batch sizes that are left are recorded when the device is idle, or when they are
/// first needed.
const RECORDING: Duration = Duration::from_secs(60);

impl fmt::Display for LoadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading the weights",
            Self::Prepare => "preparing the weights for this processor (one forward pass)",
            Self::Record => "recording the GPU's work for each batch size",
        })
    }
}

/// The networks of a device, ready for frames.
pub struct Replicas {
    /// One for each stream.
    pub detectors: Vec<Box<dyn Detect>>,
    pub info: ModelInfo,
    /// The second network, where there is one.
    pub classifier: Option<ModelInfo>,
    /// What the classes are called.
    pub labels: Labels,
    /// How long the first forward pass took for each image, with all threads. Later ones are faster.
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

/// Loads the network of `settings` once, with the classifier of `classify` behind it, and gives each of `streams`
/// a replica of it. One forward pass is made, on all threads. `on_step` is called as each step begins, and returns
/// whether to go on.
///
/// # Errors
/// As [`load_stream`], where the network does not take the input, and where `on_step` says no.
pub fn load_replicas(
    settings: &ModelSettings,
    classify: Option<&ClassifySettings>,
    streams: &Streams,
    max_batch: usize,
    on_step: &dyn Fn(LoadStep) -> bool,
) -> Result<Replicas, ModelError> {
    let begin = |step| if on_step(step) { Ok(()) } else { Err(ModelError::Cancelled) };
    begin(LoadStep::Read)?;
    let mut first: Loaded = load_stream(settings, classify, streams)?;
    begin(LoadStep::Prepare)?;
    // A module may have been exported for one batch size only. It has seen a single image when it was loaded.
    let batch = if settings.arch == TORCHSCRIPT { max_batch.clamp(1, 2) } else { 1 };
    let started = Instant::now();
    first.warm_up(batch)?;
    let first_pass = started.elapsed() / batch as u32;
    let is_gpu = first.target.is_gpu();
    let more: Vec<_> = (1..streams.count().get()).map(|_| first.replica()).collect();
    let (info, classifier, labels) = (first.info.clone(), first.classifier.clone(), first.labels.clone());
    let mut networks: Vec<Loaded> = std::iter::once(first).chain(more).collect();
    if is_gpu {
        begin(LoadStep::Record)?;
        record(&mut networks, max_batch);
    }
    let detectors = networks.into_iter().map(|network| -> Box<dyn Detect> { network.detector }).collect();
    Ok(Replicas { detectors, info, classifier, labels, first_pass })
}

/// Runs each batch size on each network, on this thread: cuDNN chooses its algorithms for each thread anew.
fn record(networks: &mut [Loaded], max_batch: usize) {
    let started = Instant::now();
    for size in batch_sizes(max_batch) {
        for network in &mut *networks {
            if started.elapsed() > RECORDING {
                return;
            }
            if let Err(error) = network.warm_up(size) {
                // The batches that need it find out what is wrong and deal with it.
                tracing::warn!(size, %error, "a batch size could not be recorded");
                return;
            }
        }
    }
}
