//! A network for each stream of a device, all on one copy of the weights.

use std::{
    fmt,
    time::{Duration, Instant},
};

use lookout_config::{ClassifySettings, ModelSettings, TORCHSCRIPT};
use lookout_schema::ModelInfo;
use lookout_stage::Detect;

use crate::{Labels, Loaded, ModelError, Streams, load::load_stream};

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
}

impl fmt::Display for LoadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading the weights",
            Self::Prepare => "preparing the weights for this processor (one forward pass)",
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
    let Loaded { detector, info, classifier, labels, .. } = first;
    let more: Vec<_> = (1..streams.count().get()).map(|_| detector.replica()).collect();
    let detectors = std::iter::once(detector).chain(more).map(|replica| -> Box<dyn Detect> { replica });
    Ok(Replicas { detectors: detectors.collect(), info, classifier, labels, first_pass })
}
