//! Benchmark profiles: the throughput and latency of networks on one machine. `lookout bench` writes them,
//! and `lookout plan` reads them.

use lookout_schema::{Size, Timestamp};
use serde::{Deserialize, Serialize};

/// Measurements of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchProfile {
    /// [`BenchProfile::SCHEMA`].
    pub schema: String,
    /// When the measurement was made.
    pub measured_at: Timestamp,
    /// CPU cores that the process could use.
    pub cores: usize,
    /// The measurements.
    pub results: Vec<Measurement>,
}

impl BenchProfile {
    /// The value of `schema` in a profile.
    pub const SCHEMA: &'static str = "lookout.profile/1";
}

/// Measurement of one network at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the network.
    pub arch: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `fp32`, `bf16` or `fp16`.
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
    /// Throughput in images per second.
    pub images_per_s: f64,
    /// Latency of a batch in milliseconds.
    pub latency_ms: BatchLatencyMs,
    /// Median time of the forward pass of a batch, including preprocessing.
    pub forward_ms: f64,
    /// Median time of the postprocessing of a batch.
    pub post_ms: f64,
}

/// Percentiles of the latency of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchLatencyMs {
    /// 50th percentile.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}
