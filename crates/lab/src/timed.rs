//! The figures of a measurement, and the images that are measured.

use anyhow::Context;
use hdrhistogram::Histogram;
use lookout_measure::{BatchLatencyMs, Measurement};
use lookout_model::Loaded;
use lookout_stage::Pixels;

/// The figures of a measurement; times are in microseconds.
pub(crate) struct Timed {
    pub(crate) images_per_s: f64,
    pub(crate) latencies: Histogram<u64>,
    pub(crate) forwards: Histogram<u64>,
    pub(crate) posts: Histogram<u64>,
}

impl Timed {
    /// Returns the measurement of `streams` replicas of `network`, with `cameras` cameras as sources if it is given.
    pub(crate) fn of(
        &self,
        network: &Loaded,
        batch: usize,
        streams: usize,
        cameras: Option<usize>,
    ) -> Measurement {
        let ms =
            |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let latency = |quantile| ms(&self.latencies, quantile);
        Measurement {
            arch: network.info.arch.clone(),
            device: network.target.to_string(),
            precision: network.info.precision.clone(),
            input: network.input,
            batch,
            streams,
            cameras,
            images_per_s: (self.images_per_s * 100.0).round() / 100.0,
            latency_ms: BatchLatencyMs { p50: latency(0.50), p95: latency(0.95), p99: latency(0.99) },
            forward_ms: ms(&self.forwards, 0.50),
            post_ms: ms(&self.posts, 0.50),
        }
    }
}

/// Returns an image of the network's input size with pseudorandom bytes, because some processors multiply zeros faster.
pub(crate) fn image(network: &Loaded, seed: u32) -> anyhow::Result<Pixels> {
    let byte = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8;
    let bytes: Vec<u8> = (0..network.input.width * network.input.height * 3).map(byte).collect();
    Pixels::new(network.input, bytes).context("the image does not have the network's input size")
}
