//! What a worker is made of.

use std::{fmt, sync::Arc};

use lookout_broker::{KafkaSink, SinkHealth};
use lookout_config::CameraSettings;
use lookout_infer::Rebuild;
use lookout_schema::ModelInfo;
use lookout_stage::{Detect, FrameSource, RecordSink};

/// Makes a camera's source, and makes it anew after it has panicked.
pub type MakeSource = Arc<dyn Fn(&CameraSettings) -> Box<dyn FrameSource> + Send + Sync>;

/// A sink that says how it is doing.
pub trait SinkWatch: RecordSink {
    fn health(&self) -> SinkHealth;
}

impl SinkWatch for KafkaSink {
    fn health(&self) -> SinkHealth {
        Self::health(self)
    }
}

/// The parts that are linked with something large, or that a test would rather have misbehave.
pub struct Parts {
    pub sink: Arc<dyn SinkWatch>,
    pub make_source: MakeSource,
    /// One for each stream of the device: so many batches are looked at side by side.
    pub detectors: Vec<Box<dyn Detect>>,
    pub rebuild: Rebuild,
    pub model: ModelInfo,
    /// The network that looks at what the first has found, where there is one.
    pub classifier: Option<ModelInfo>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Make up the next batch while the device works on one.
    pub prefetch: bool,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("model", &self.model)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
