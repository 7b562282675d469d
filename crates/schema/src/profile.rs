//! What a network was measured to take on a machine: what `lookout bench` writes and `lookout plan` reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Size, Timestamp};

/// A machine's measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchProfile {
    /// [`BenchProfile::SCHEMA`].
    pub schema: String,
    pub measured_at: Timestamp,
    /// Cores that the process might use.
    pub cores: usize,
    pub results: Vec<Measurement>,
}

impl BenchProfile {
    pub const SCHEMA: &'static str = "lookout.profile/1";
}

/// One network, in batches of one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    pub arch: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub precision: String,
    /// The network's input.
    pub input: Size,
    /// Pictures in a batch.
    pub batch: usize,
    /// Batches that were looked at side by side.
    pub streams: usize,
    /// Cameras, where a worker's stages were measured around the network; then the latency is that of a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<usize>,
    pub images_per_s: f64,
    pub latency_ms: BatchLatencyMs,
    /// The network's part of a batch's time, preprocessing included; the median.
    pub forward_ms: f64,
    /// Reading what the network says; the median.
    pub post_ms: f64,
}

/// How long a batch takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchLatencyMs {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}
