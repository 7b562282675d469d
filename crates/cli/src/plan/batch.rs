//! Choice of the batch size: the highest throughput within the latency limit.

use lookout_measure::Measurement;
use lookout_schema::Size;
use serde::Serialize;

use super::Assumption;

/// `[batch] max_wait_ms` of a pipeline file that does not set it.
const MAX_WAIT_MS: f64 = 5.0;

/// The chosen batch size, with the measurement that it is based on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Batch {
    pub(super) device: String,
    pub(super) precision: String,
    pub(super) input: Size,
    /// Value for `[batch] max_size`.
    pub(super) max_size: usize,
    pub(super) images_per_s: f64,
    /// Maximum time from a decoded frame to its result, calculated with the 95th percentile of the batch
    /// latency.
    pub(super) latency_ms: f64,
}

impl Batch {
    /// Chooses the measurement with the highest throughput within the latency limit `within_ms`.
    ///
    /// # Errors
    /// Fails if no measurement is within the limit.
    pub(super) fn choose(
        measured: &[Measurement],
        within_ms: f64,
        assumptions: &mut Vec<Assumption>,
    ) -> Result<Self, String> {
        let quick = measured.iter().filter(|m| latency_ms(m) <= within_ms);
        let Some(best) = quick
            .max_by(|a, b| a.images_per_s.total_cmp(&b.images_per_s).then_with(|| b.batch.cmp(&a.batch)))
        else {
            let quickest = measured.iter().map(latency_ms).fold(f64::INFINITY, f64::min);
            return Err(format!(
                "--latency-ms: no measured batch size has a latency of at most {within_ms} ms, the fastest takes \
                 {quickest:.0} ms; measure smaller batches, use a smaller network or input, or raise the limit"
            ));
        };
        assumptions.push(Assumption::new(
            format!(
                "a frame waits up to {MAX_WAIT_MS} ms for its batch to fill, and for the batch before it; network \
                 delay and the camera's jitter buffer (200 ms) are not included"
            ),
            "ARCHITECTURE.md, `max_wait_ms` and `jitter_buffer_ms` in docs/pipeline-file.md",
        ));
        Ok(Self {
            device: best.device.clone(),
            precision: best.precision.clone(),
            input: best.input,
            max_size: best.batch,
            images_per_s: best.images_per_s,
            latency_ms: latency_ms(best),
        })
    }

    pub(super) fn is_on_gpu(&self) -> bool {
        self.device.starts_with("cuda")
    }
}

fn latency_ms(measured: &Measurement) -> f64 {
    MAX_WAIT_MS + 2.0 * measured.latency_ms.p95
}

#[cfg(test)]
pub(super) mod tests {
    use lookout_measure::BatchLatencyMs;

    use super::*;

    pub(in crate::plan) fn measured(batch: usize, images_per_s: f64, p95: f64) -> Measurement {
        Measurement {
            arch: "resnet50".into(),
            device: "cuda:0".into(),
            precision: "bf16".into(),
            input: Size { width: 224, height: 224 },
            batch,
            streams: 1,
            cameras: None,
            images_per_s,
            latency_ms: BatchLatencyMs { p50: p95, p95, p99: p95 },
            forward_ms: p95,
            post_ms: 0.0,
        }
    }

    #[test]
    fn chooses_the_highest_throughput_within_the_latency() {
        let all = [measured(1, 100.0, 10.0), measured(8, 400.0, 20.0), measured(32, 500.0, 64.0)];
        let size = |within| Batch::choose(&all, within, &mut Vec::new()).map(|batch| batch.max_size);
        assert_eq!(size(200.0), Ok(32));
        assert_eq!(size(132.9), Ok(8));
        assert_eq!(size(25.0), Ok(1));
        assert!(size(24.0).unwrap_err().contains("the fastest takes 25 ms"));
    }

    #[test]
    fn chooses_the_smaller_batch_at_equal_throughput() {
        let all = [measured(8, 400.0, 20.0), measured(4, 400.0, 10.0), measured(16, 400.0, 40.0)];
        assert_eq!(Batch::choose(&all, 500.0, &mut Vec::new()).unwrap().max_size, 4);
    }
}
