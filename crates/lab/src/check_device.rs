//! The command `lookout check-device`.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context;
use lookout_args::CheckDeviceArgs;
use lookout_config::{ModelSettings, Task, is_arch_of};
use lookout_model::{Loaded, device_memory_used, load};
use lookout_schema::Size;
use lookout_stage::{DetectFrame, DetectionFilter, InferenceResult, Pixels};
use serde::Serialize;

use crate::WrongInput;

/// Number of images whose results are compared with the CPU's.
const REFERENCE_IMAGES: usize = 3;
/// With random weights, all scores are close to each other. A result whose score is within this distance of the
/// threshold may be missing.
const SCORE_TOLERANCE: f32 = 0.02;
/// Two boxes are the same if their IoU is above this. In 16 bits, corners deviate by about a hundredth of a side.
const SAME_IOU: f64 = 0.8;
/// Limit of the growth of memory in use, in bytes, between the first batches of all sizes and the last ones.
const GROWTH: i64 = 64 << 20;

/// Returns the minimum fraction of the CPU's results that the device has to find too. If two overlapping boxes score
/// almost the same, NMS may keep the other one; random weights cause many such pairs. In bf16, the first stage of
/// Faster R-CNN selects different proposals for its second stage: the fraction is 0.87 on an H200, where its outputs
/// are as close to fp32 as torchvision's in bf16.
fn least_share(precision: &str) -> f64 {
    match precision {
        "fp32" => 0.99,
        "fp16" => 0.95,
        _ => 0.80,
    }
}

/// The comparison of a network in one precision with the CPU in fp32.
#[derive(Debug, Serialize)]
struct Compared {
    arch: String,
    precision: String,
    batch: usize,
    /// The number of the CPU's results, and the fraction of them that the device found too.
    findings: usize,
    share: f64,
    ok: bool,
}

#[derive(Debug, Serialize)]
struct Growth {
    batches: usize,
    /// Bytes in use on the device after one batch of each size, and at the end.
    before_bytes: i64,
    after_bytes: i64,
    seconds: f64,
    ok: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    device: String,
    compared: Vec<Compared>,
    growth: Option<Growth>,
    ok: bool,
}

pub(crate) fn run(args: &CheckDeviceArgs) -> anyhow::Result<ExitCode> {
    let device =
        args.device.parse().map_err(|error| anyhow::anyhow!("--device: {error}")).context(WrongInput)?;
    let input = args.input.as_deref().map(lookout_config::input_size).transpose();
    let input = input.map_err(|what| anyhow::anyhow!("--input: {what}")).context(WrongInput)?;
    let mut compared = Vec::new();
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(out, "{:<28} {:<9} {:>6} {:>9} {:>8}", "arch", "precision", "batch", "results", "share")?;
    }
    for arch in &args.arch {
        let settings = |precision: &str| -> anyhow::Result<ModelSettings> {
            let precision = precision.parse().map_err(|error| anyhow::anyhow!("--precision: {error}"));
            let precision = precision.context(WrongInput)?;
            let score_threshold = is_arch_of(arch, Task::Detection).then_some(0.1);
            Ok(ModelSettings {
                device,
                precision,
                input,
                score_threshold,
                ..ModelSettings::named(arch, "random:7")
            })
        };
        let on_cpu = ModelSettings { device: lookout_config::Device::Cpu, ..settings("fp32")? };
        let mut reference = load(&on_cpu).context(WrongInput)?;
        let images = images(reference.input, args.batch.iter().copied().max().unwrap_or(1))?;
        let expected = look(&mut reference, &images[..images.len().min(REFERENCE_IMAGES)])?;
        for precision in &args.precision {
            let mut network = load(&settings(precision)?).context(WrongInput)?;
            for batch in &args.batch {
                let found = look(&mut network, &images[..*batch])?;
                let (findings, share) = share(&expected, &found);
                let ok = share >= least_share(precision);
                let (arch, precision, batch) = (arch.clone(), precision.clone(), *batch);
                if !args.json {
                    let mark = if ok { "" } else { "  FAILED" };
                    writeln!(out, "{arch:<28} {precision:<9} {batch:>6} {findings:>9} {share:>8.4}{mark}")?;
                }
                compared.push(Compared { arch, precision, batch, findings, share, ok });
            }
        }
    }
    let growth = match args.batches {
        0 => None,
        batches => Some(growth(device, batches)?),
    };
    if let (Some(growth), false) = (&growth, args.json) {
        let Growth { batches, before_bytes, after_bytes, seconds, ok } = growth;
        let mib = |bytes: i64| bytes >> 20;
        let (before, after) = (mib(*before_bytes), mib(*after_bytes));
        let mark = if *ok { "" } else { "  FAILED" };
        writeln!(
            out,
            "{batches} batches of 1 to 128 images in {seconds:.1} s: {before} MiB before, {after} MiB after{mark}"
        )?;
    }
    let ok = compared.iter().all(|compared| compared.ok) && growth.as_ref().is_none_or(|growth| growth.ok);
    if args.json {
        let report = Report { device: args.device.clone(), compared, growth, ok };
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns images of blurred shapes, because plain noise gives a network the same features everywhere.
fn images(size: Size, count: usize) -> anyhow::Result<Vec<Pixels>> {
    let value = |seed: u64, x: u32, y: u32, channel: u32| {
        let hash = |a: u64| {
            a.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 56
        };
        let block = hash(seed << 40 | u64::from(x / 24) << 20 | u64::from(y / 24) << 4 | u64::from(channel));
        let noise = hash(seed << 40 | u64::from(x) << 20 | u64::from(y) << 4 | u64::from(channel)) / 8;
        (block * 7 / 8 + noise).min(255) as u8
    };
    let image = |seed: u64| {
        let mut bytes = Vec::with_capacity(size.width as usize * size.height as usize * 3);
        for y in 0..size.height {
            for x in 0..size.width {
                bytes.extend((0..3).map(|channel| value(seed + 1, x, y, channel)));
            }
        }
        Pixels::new(size, bytes).context("the image does not have the network's input size")
    };
    (0..count as u64).map(image).collect()
}

fn look(network: &mut Loaded, images: &[Pixels]) -> anyhow::Result<Vec<InferenceResult>> {
    let placement = network.fit.place(network.input, network.input);
    let frame =
        |pixels| DetectFrame { pixels, source: network.input, placement, keep: DetectionFilter::all() };
    let frames: Vec<_> = images.iter().map(frame).collect();
    Ok(network.detector.detect(&frames)?.findings)
}

/// Returns the number of the reference's results, and the fraction of them that was found. For classifiers, only the
/// first class counts.
fn share(expected: &[InferenceResult], found: &[InferenceResult]) -> (usize, f64) {
    let (mut all, mut same) = (0, 0);
    for (expected, found) in expected.iter().zip(found) {
        if let Some(class) = expected.classes.first() {
            all += 1;
            // The next class may have almost the same score.
            let near =
                |other: &&lookout_schema::Classification| (other.score - class.score).abs() < SCORE_TOLERANCE;
            same += usize::from(
                found.classes.iter().take(2).filter(near).any(|other| other.class_id == class.class_id),
            );
        }
        let least = expected.detections.last().map_or(0.0, |last| last.score) + SCORE_TOLERANCE;
        for detection in expected.detections.iter().filter(|detection| detection.score > least) {
            all += 1;
            let is_same = |other: &lookout_schema::Detection| {
                other.class_id == detection.class_id && other.bbox.iou(detection.bbox) > SAME_IOU
            };
            same += usize::from(found.detections.iter().any(is_same));
        }
    }
    (all, if all == 0 { 0.0 } else { same as f64 / all as f64 })
}

/// Runs `batches` batches of changing sizes through a small network.
fn growth(device: lookout_config::Device, batches: usize) -> anyhow::Result<Growth> {
    const LARGEST: usize = 128;
    let input = Some(Size { width: 64, height: 64 });
    let mut network = load(&ModelSettings { device, input, ..ModelSettings::named("resnet18", "random:7") })?;
    let images = images(network.input, LARGEST)?;
    let sizes =
        std::iter::successors(Some(1_usize), |size| Some(size * 2)).take_while(|size| *size <= LARGEST);
    for size in sizes {
        network.warm_up(size)?;
    }
    let used = || device_memory_used(device).unwrap_or(0);
    let (before_bytes, started) = (used(), Instant::now());
    for batch in 0..batches {
        // 37 and 128 have no common factor, so all sizes occur, in a mixed order.
        look(&mut network, &images[..batch * 37 % LARGEST + 1])?;
    }
    let after_bytes = used();
    Ok(Growth {
        batches,
        before_bytes,
        after_bytes,
        seconds: started.elapsed().as_secs_f64(),
        ok: after_bytes - before_bytes <= GROWTH,
    })
}
