//! The plan as text.

use std::fmt::Write as _;

use super::{Plan, fleet::Limit};

pub(super) fn text(plan: &Plan) -> String {
    let Plan { batch, fleet, kafka, .. } = plan;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line("workload", format!("{} cameras, {} frames/s each, {}", plan.cameras, plan.fps, plan.arch));
    let gpus = if fleet.gpus > 0 { format!(", {} GPUs in total", fleet.gpus) } else { String::new() };
    line(
        "machines",
        format!(
            "{} and {} spare, with {} cores each{gpus}",
            fleet.machines, fleet.spare, fleet.cores_per_machine
        ),
    );
    let limit = match fleet.limited_by {
        Limit::Gpu => "limited by the GPU",
        Limit::Decoding => "limited by decoding",
        Limit::Cpu => "limited by the cores, which decoding and network share",
    };
    line("cameras", format!("{} per machine, {limit}", fleet.cameras_per_machine));
    line(
        "batch",
        format!(
            "max_size = {}, {} on {} at {}x{}: {:.1} images/s on the measured machine, at most {:.0} ms from decoded \
             frame to result",
            batch.max_size,
            batch.precision,
            batch.device,
            batch.input.width,
            batch.input.height,
            batch.images_per_s,
            batch.latency_ms
        ),
    );
    let other =
        if batch.is_on_gpu() { "for scaling and records" } else { "for the network, scaling and records" };
    line(
        "cpu",
        format!(
            "{:.1} cores for decoding, {:.1} {other}, on all machines",
            fleet.decode_cores, fleet.other_cores
        ),
    );
    line(
        "kafka",
        format!(
            "{:.0} records/s of {:.0} bytes: {:.2} MB/s produced, {:.2} MB/s written, {:.2} MB/s read",
            kafka.records_per_s,
            kafka.record_bytes,
            kafka.produced_mb_per_s,
            kafka.written_mb_per_s,
            kafka.read_mb_per_s
        ),
    );
    line("storage", format!("{:.0} GB", kafka.storage_gb));
    line("partitions", kafka.partitions.to_string());
    let _ = write!(text, "\nAssumptions:");
    for assumption in &plan.assumptions {
        let _ = write!(text, "\n- {} [{}]", assumption.what, assumption.source);
    }
    text
}
