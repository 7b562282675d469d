//! What a worker is made of.

use std::{fmt, sync::Arc, time::Duration};

use lookout_broker::{FleetEvent, FleetMember, KafkaSink, SinkHealth};
use lookout_config::CameraSettings;
use lookout_infer::Rebuild;
use lookout_schema::{ModelInfo, Size};
use lookout_stage::{Detect, FrameSource, InputSize, RecordSink};
use tokio::sync::mpsc;

use crate::{metrics::DecoderFallbacks, startup::Loading};

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

/// A place in the fleet; dropping it leaves the fleet, and may block.
pub trait FleetSeat: Send {
    /// Nothing of a partition that is leaving is under way any more.
    fn release(&self, partition: i32);

    /// Whether the fleet has said what this worker's share is.
    fn has_joined(&self) -> bool;
}

impl FleetSeat for FleetMember {
    fn release(&self, partition: i32) {
        Self::release(self, partition);
    }

    fn has_joined(&self) -> bool {
        Self::has_joined(self)
    }
}

/// Where the registry's cameras come from.
pub struct FleetParts {
    /// First, so that it is closed when the seat is given up, which may have more to say.
    pub events: mpsc::Receiver<FleetEvent>,
    pub seat: Box<dyn FleetSeat>,
}

impl fmt::Debug for FleetParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetParts").field("joined", &self.seat.has_joined()).finish_non_exhaustive()
    }
}

/// Loads the network. It is called once, on a thread of its own, while the cameras connect, and says what it does.
pub type LoadNetwork = Box<dyn FnOnce(&Loading) -> anyhow::Result<Network> + Send>;

/// The parts that are linked with something large, or that a test would rather have misbehave.
pub struct Parts {
    pub sink: Arc<dyn SinkWatch>,
    pub make_source: MakeSource,
    pub load: LoadNetwork,
    pub rebuild: Rebuild,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Make up the next batch while the device works on one.
    pub prefetch: bool,
    pub inputs: Inputs,
    /// What the sources of `make_source` count in.
    pub decoder_fallbacks: DecoderFallbacks,
}

/// The sizes that the network's input may have.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What the network is called in log lines.
    pub network: String,
    /// The largest first, at which the worker starts; more than one where a slow device may take a smaller one.
    pub sizes: Vec<Size>,
    /// Where the cameras read the size.
    pub current: InputSize,
}

/// A network that is ready for frames, and what came with it.
pub struct Network {
    /// One for each stream of the device: so many batches are processed side by side.
    pub detectors: Vec<Box<dyn Detect>>,
    /// How long the first pass took for each frame.
    pub first_pass: Option<Duration>,
    pub model: ModelInfo,
    /// The network that looks at what the first has found, where there is one.
    pub classifier: Option<ModelInfo>,
    /// Whether a label is one of the network's, for the classes of cameras that come later.
    pub knows_class: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Of a worker whose cameras are the registry's. It joins the fleet only with a network: until then other workers
    /// keep the cameras.
    pub fleet: Option<FleetParts>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("model", &self.model)
            .field("streams", &self.detectors.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("device", &self.device)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}
