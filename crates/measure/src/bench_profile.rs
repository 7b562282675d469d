//! Benchmark profiles: the throughput and latency of networks on one machine. `lookout bench` writes them,
//! and `lookout plan` reads them.

use lookout_schema::{Size, Timestamp};
use serde::{Deserialize, Serialize};

/// Measurements of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchProfile {
    /// [`BenchProfile::SCHEMA`].
    pub schema: String,
    pub measured_at: Timestamp,
    /// CPU cores that the process could use.
    pub cores: usize,
    pub results: Vec<Measurement>,
}

impl BenchProfile {
    pub const SCHEMA: &'static str = "lookout.profile/1";
}

/// Measurement of one network at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub arch: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub precision: String,
    /// The network's input.
    pub input: Size,
    /// Images per batch.
    pub batch: usize,
    /// Batches that were processed in parallel.
    pub streams: usize,
    /// Number of cameras, if all stages of a worker were measured; the latency is then that of a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<usize>,
    pub images_per_s: f64,
    pub latency_ms: BatchLatencyMs,
    /// Median time of the forward pass of a batch, including preprocessing.
    pub forward_ms: f64,
    /// Median time of the postprocessing of a batch.
    pub post_ms: f64,
}

/// Percentiles of the latency of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchLatencyMs {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}
