//! The command `lookout bench`.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use lookout_args::BenchArgs;
use lookout_config::{ModelSettings, input_size};
use lookout_measure::{BenchProfile, Measurement};
use lookout_model::{Loaded, ModelError, Streams, Target, load_stream};
use lookout_schema::Timestamp;
use lookout_stage::{DetectFrame, DetectionFilter};
use serde::Serialize;

use crate::{
    WrongInput, network, pipeline,
    timed::{Timed, image},
};

/// All measurements, printed as one line by `--json`.
#[derive(Debug, Serialize)]
struct Results {
    results: Vec<Measurement>,
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let wrong = |what: String| anyhow::Error::msg(what).context(WrongInput);
    if args.batch.contains(&0) {
        return Err(wrong("--batch: each batch size must be at least 1".into()));
    }
    if args.cameras == Some(0) {
        return Err(wrong("--cameras: it must be at least 1".into()));
    }
    let seconds =
        Duration::try_from_secs_f64(args.seconds).map_err(|error| wrong(format!("--seconds: {error}")))?;
    if let Some(folder) = args.profile.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(wrong(format!("--profile: the folder {} does not exist", folder.display())));
    }
    let input = args.input.as_deref().map(input_size).transpose();
    let input = input.map_err(|what| wrong(format!("--input: {what}")))?;
    let mut results = Results { results: Vec::new() };
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(
            out,
            "{:<26} {:<8} {:<9} {:>6} {:>7} {:>7} {:>12} {:>9} {:>9} {:>9} {:>11} {:>9}",
            "arch",
            "device",
            "precision",
            "batch",
            "streams",
            "cameras",
            "images/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "forward ms",
            "post ms"
        )?;
    }
    for precision in &args.precision {
        let settings =
            ModelSettings { input, streams: args.streams, ..network::settings(&args.network, precision)? };
        let mut networks = load_streams(&settings).context(WrongInput)?;
        for batch in &args.batch {
            for network in &mut networks {
                // Warm-up runs on this thread, one network after the other: on a GPU, the first batch of a size is
                // captured as a CUDA graph.
                network.warm_up(*batch)?;
            }
            let alone = measure(&mut networks, *batch, seconds)?;
            let piped = args.cameras.map(|cameras| pipeline::measure(&networks, cameras, *batch, seconds));
            for measured in [Some(alone), piped.transpose()?].into_iter().flatten() {
                if !args.json {
                    print(&mut out, &measured)?;
                }
                results.results.push(measured);
            }
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&results)?)?;
    }
    if let Some(file) = &args.profile {
        write_profile(file, results.results)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, measured: &Measurement) -> io::Result<()> {
    writeln!(
        out,
        "{:<26} {:<8} {:<9} {:>6} {:>7} {:>7} {:>12.2} {:>9.2} {:>9.2} {:>9.2} {:>11.2} {:>9.2}",
        measured.arch,
        measured.device,
        measured.precision,
        measured.batch,
        measured.streams,
        measured.cameras.map_or_else(|| "-".into(), |cameras| cameras.to_string()),
        measured.images_per_s,
        measured.latency_ms.p50,
        measured.latency_ms.p95,
        measured.latency_ms.p99,
        measured.forward_ms,
        measured.post_ms
    )
}

fn write_profile(file: &Path, results: Vec<Measurement>) -> anyhow::Result<()> {
    let profile = BenchProfile {
        schema: BenchProfile::SCHEMA.into(),
        measured_at: Timestamp::now(),
        cores: thread::available_parallelism()?.get(),
        results,
    };
    fs::write(file, serde_json::to_string_pretty(&profile)? + "\n")
        .with_context(|| format!("--profile: {} cannot be written", file.display()))
}

/// Number of batches before the measurement starts.
const WARM_UP: usize = 3;

/// Loads one network for each stream of the device.
fn load_streams(settings: &ModelSettings) -> Result<Vec<Loaded>, ModelError> {
    let streams = Streams::new(settings, Target::choose(settings.device, settings.precision)?);
    let mut first = load_stream(settings, None, &streams)?;
    // The replicas share its weights in the processor's memory layout, which the first batch creates.
    first.warm_up(1)?;
    let more: Vec<_> = (1..streams.count().get()).map(|_| first.replica()).collect();
    Ok([first].into_iter().chain(more).collect())
}

fn measure(networks: &mut [Loaded], batch: usize, seconds: Duration) -> anyhow::Result<Measurement> {
    let all_ready = Barrier::new(networks.len());
    let streams = networks.len();
    let taken: Vec<Taken> = thread::scope(|scope| {
        let stream = |network| scope.spawn(|| look_again_and_again(network, batch, seconds, &all_ready));
        let threads: Vec<_> = networks.iter_mut().map(stream).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a stream panicked")))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<_>>()
    })?;
    let mut latencies = Histogram::<u64>::new(3)?;
    let [mut forwards, mut posts] = [latencies.clone(), latencies.clone()];
    for taken in &taken {
        latencies.add(&taken.latencies)?;
        forwards.add(&taken.forwards)?;
        posts.add(&taken.posts)?;
    }
    let rate = |taken: &Taken| (taken.latencies.len() * batch as u64) as f64 / taken.seconds;
    let images_per_s: f64 = taken.iter().map(rate).sum();
    let first = networks.first().context("the device has no streams")?;
    Ok(Timed { images_per_s, latencies, forwards, posts }.of(first, batch, streams, None))
}

/// The measurements of one stream.
struct Taken {
    latencies: Histogram<u64>,
    forwards: Histogram<u64>,
    posts: Histogram<u64>,
    seconds: f64,
}

fn look_again_and_again(
    network: &mut Loaded,
    batch: usize,
    seconds: Duration,
    all_ready: &Barrier,
) -> anyhow::Result<Taken> {
    let pixels = image(network, 0)?;
    let placement = network.fit.place(network.input, network.input);
    let frames =
        vec![
            DetectFrame { pixels: &pixels, source: network.input, placement, keep: DetectionFilter::all() };
            batch
        ];
    let new = || Histogram::<u64>::new(3);
    let mut taken = Taken { latencies: new()?, forwards: new()?, posts: new()?, seconds: 0.0 };
    all_ready.wait();
    let mut started = Instant::now();
    for turn in 0.. {
        if turn == WARM_UP {
            started = Instant::now();
        }
        if turn > WARM_UP && started.elapsed() >= seconds {
            break;
        }
        let batch_started = Instant::now();
        let detected = network.detector.detect(&frames)?;
        if turn >= WARM_UP {
            taken.latencies.record(batch_started.elapsed().as_micros() as u64)?;
            taken.forwards.record(detected.infer.as_micros() as u64)?;
            taken.posts.record(detected.post.as_micros() as u64)?;
        }
    }
    taken.seconds = started.elapsed().as_secs_f64();
    Ok(taken)
}
