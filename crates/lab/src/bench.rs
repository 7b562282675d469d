//! `lookout bench`.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use lookout_args::BenchArgs;
use lookout_config::{ModelSettings, input_size};
use lookout_model::{Loaded, load};
use lookout_stage::{DetectFrame, Pixels};
use serde::Serialize;

use crate::{WrongInput, network};

/// All measurements; the line of `--json`.
#[derive(Debug, Serialize)]
struct Results {
    results: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    arch: String,
    device: String,
    precision: String,
    batch: usize,
    images_per_s: f64,
    latency_ms: LatencyMs,
    /// The network's part of a batch's time, preprocessing included; the median.
    forward_ms: f64,
    /// Reading what the network says; the median.
    post_ms: f64,
}

/// Of a batch.
#[derive(Debug, Serialize)]
struct LatencyMs {
    p50: f64,
    p95: f64,
    p99: f64,
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let wrong = |what: String| anyhow::Error::msg(what).context(WrongInput);
    if args.batch.contains(&0) {
        return Err(wrong("--batch: a batch of no pictures".into()));
    }
    let seconds =
        Duration::try_from_secs_f64(args.seconds).map_err(|error| wrong(format!("--seconds: {error}")))?;
    let input = args.input.as_deref().map(input_size).transpose();
    let input = input.map_err(|what| wrong(format!("--input: {what}")))?;
    let mut results = Results { results: Vec::new() };
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(
            out,
            "{:<26} {:<8} {:<9} {:>6} {:>12} {:>9} {:>9} {:>9} {:>11} {:>9}",
            "arch",
            "device",
            "precision",
            "batch",
            "images/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "forward ms",
            "post ms"
        )?;
    }
    for precision in &args.precision {
        let settings = ModelSettings { input, ..network::settings(&args.network, precision)? };
        let mut loaded = load(&settings).context(WrongInput)?;
        for batch in &args.batch {
            let measured = measure(&mut loaded, *batch, seconds)?;
            if !args.json {
                writeln!(
                    out,
                    "{:<26} {:<8} {:<9} {:>6} {:>12.2} {:>9.2} {:>9.2} {:>9.2} {:>11.2} {:>9.2}",
                    measured.arch,
                    measured.device,
                    measured.precision,
                    measured.batch,
                    measured.images_per_s,
                    measured.latency_ms.p50,
                    measured.latency_ms.p95,
                    measured.latency_ms.p99,
                    measured.forward_ms,
                    measured.post_ms
                )?;
            }
            results.results.push(measured);
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&results)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Before the clock starts.
const WARM_UP: usize = 3;

fn measure(loaded: &mut Loaded, batch: usize, seconds: Duration) -> anyhow::Result<Measured> {
    // Bytes without a pattern: some processors multiply zeros faster.
    let bytes = (0..loaded.input.width * loaded.input.height * 3)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    let pixels = Pixels::new(loaded.input, bytes.collect::<Vec<_>>()).context("a picture of another size")?;
    let placement = loaded.fit.place(loaded.input, loaded.input);
    let frames = vec![DetectFrame { pixels: &pixels, source: loaded.input, placement }; batch];
    for _ in 0..WARM_UP {
        loaded.detector.detect(&frames)?;
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    let [mut forwards, mut posts] = [latencies.clone(), latencies.clone()];
    let started = Instant::now();
    while started.elapsed() < seconds || latencies.is_empty() {
        let begun = Instant::now();
        let detected = loaded.detector.detect(&frames)?;
        let taken =
            [(&mut latencies, begun.elapsed()), (&mut forwards, detected.infer), (&mut posts, detected.post)];
        for (histogram, taken) in taken {
            histogram.record(taken.as_micros() as u64)?;
        }
    }
    let rate = (latencies.len() * batch as u64) as f64 / started.elapsed().as_secs_f64();
    let quantile_ms =
        |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let ms = |quantile| quantile_ms(&latencies, quantile);
    Ok(Measured {
        arch: loaded.info.arch.clone(),
        device: loaded.target.to_string(),
        precision: loaded.info.precision.clone(),
        batch,
        images_per_s: (rate * 100.0).round() / 100.0,
        latency_ms: LatencyMs { p50: ms(0.50), p95: ms(0.95), p99: ms(0.99) },
        forward_ms: quantile_ms(&forwards, 0.50),
        post_ms: quantile_ms(&posts, 0.50),
    })
}
