//! The components that a worker is built from.

use std::{fmt, sync::Arc, time::Duration};

use lookout_broker::{FleetMember, KafkaSink};
use lookout_config::CameraSettings;
use lookout_infer::ReloadModel;
use lookout_schema::{ModelInfo, Size};
use lookout_stage::{Detect, FleetEvent, FrameSource, InputSize, RecordSink, SinkHealth};
use tokio::sync::mpsc;

use crate::{loading::Loading, metrics::DecoderFallbacks};

/// Creates a camera's source, also to replace one that has panicked.
pub type MakeSource = Arc<dyn Fn(&CameraSettings) -> Box<dyn FrameSource> + Send + Sync>;

/// A record sink that reports its health.
pub trait MonitoredSink: RecordSink {
    fn health(&self) -> SinkHealth;
}

impl MonitoredSink for KafkaSink {
    fn health(&self) -> SinkHealth {
        Self::health(self)
    }
}

/// Membership in the fleet's consumer group. Dropping it leaves the group, and may block.
pub trait GroupMembership: Send {
    /// Releases a revoked partition, of which no records are in progress anymore.
    fn release(&self, partition: i32);

    /// Returns whether this worker has received its first assignment.
    fn has_joined(&self) -> bool;
}

impl GroupMembership for FleetMember {
    fn release(&self, partition: i32) {
        Self::release(self, partition);
    }

    fn has_joined(&self) -> bool {
        Self::has_joined(self)
    }
}

/// The source of the registry's cameras.
pub struct FleetComponents {
    /// The first field, so that the channel is closed before `membership` is dropped, which may still send events.
    pub events: mpsc::Receiver<FleetEvent>,
    pub membership: Box<dyn GroupMembership>,
}

impl fmt::Debug for FleetComponents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetComponents")
            .field("joined", &self.membership.has_joined())
            .finish_non_exhaustive()
    }
}

/// Loads the network. It is called once, on its own thread, while the cameras connect, and reports its progress.
pub type LoadNetwork = Box<dyn FnOnce(&Loading) -> anyhow::Result<Network> + Send>;

/// The components with large dependencies, or for which tests use fakes.
pub struct Components {
    pub sink: Arc<dyn MonitoredSink>,
    pub make_source: MakeSource,
    pub load: LoadNetwork,
    pub reload: ReloadModel,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Whether the next batch is prepared while the device runs one.
    pub prefetch: bool,
    pub inputs: Inputs,
    /// The counters that the sources of `make_source` increment.
    pub decoder_fallbacks: DecoderFallbacks,
}

/// The possible sizes of the network's input.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The network's name in log lines.
    pub network: String,
    /// Sorted with the largest first, at which the worker starts. There is more than one if a slow device may use a
    /// smaller one.
    pub sizes: Vec<Size>,
    /// The current size, which the cameras read.
    pub current: InputSize,
}

/// A loaded network with its metadata.
pub struct Network {
    /// One for each stream of the device; the streams process batches in parallel.
    pub detectors: Vec<Box<dyn Detect>>,
    /// The time per frame of the first pass.
    pub first_pass: Option<Duration>,
    pub model: ModelInfo,
    /// The secondary classifier, if there is one.
    pub classifier: Option<ModelInfo>,
    /// Returns whether a label is one of the network's, to check the classes of cameras that are added later.
    pub knows_class: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The fleet, for a worker that runs the registry's cameras. The worker joins only once its network is loaded, so
    /// that other workers keep the cameras until then.
    pub fleet: Option<FleetComponents>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("model", &self.model)
            .field("streams", &self.detectors.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Components")
            .field("device", &self.device)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}
