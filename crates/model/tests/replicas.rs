//! Model replicas: they give equal results and share one copy of the weights.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{cell::RefCell, fs, thread};

use lookout_config::{Device, ModelSettings, Precision};
use lookout_model::{LoadStep, ModelError, Replicas, Streams, Target, load_replicas};
use lookout_schema::Size;
use lookout_stage::{Detect, DetectFrame, DetectionFilter, InferenceResult, Pixels, ResizeMode};

const INPUT: Size = Size { width: 96, height: 64 };

fn settings(arch: &str) -> ModelSettings {
    ModelSettings {
        device: Device::Cpu,
        precision: Precision::Fp32,
        input: Some(INPUT),
        score_threshold: Some(0.0),
        // One thread each, so that the results do not depend on other threads.
        threads: Some(1),
        ..ModelSettings::named(arch, "random:7")
    }
}

fn replicas(settings: &ModelSettings, on_step: &dyn Fn(LoadStep) -> bool) -> Result<Replicas, ModelError> {
    load_replicas(settings, None, &Streams::new(settings, Target::REFERENCE), 8, on_step)
}

fn seen(detector: &mut dyn Detect, seed: u32) -> InferenceResult {
    let byte = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8;
    let pixels =
        Pixels::new(INPUT, (0..INPUT.width * INPUT.height * 3).map(byte).collect::<Vec<_>>()).unwrap();
    let placement = ResizeMode::Stretch.place(INPUT, INPUT);
    let frame = DetectFrame { pixels: &pixels, source: INPUT, placement, keep: DetectionFilter::all() };
    detector.detect(&[frame]).unwrap().findings.pop().unwrap()
}

#[test]
fn concurrent_replicas_give_equal_results() {
    for arch in ["resnet18", "fcos_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn"] {
        let settings = ModelSettings { streams: Some(3), ..settings(arch) };
        let Replicas { mut detectors, .. } = replicas(&settings, &|_| true).unwrap();
        assert_eq!(detectors.len(), 3);
        let alone: Vec<InferenceResult> = (0..4).map(|seed| seen(detectors[0].as_mut(), seed)).collect();
        let together: Vec<Vec<InferenceResult>> = thread::scope(|scope| {
            let look =
                |detector: &mut Box<dyn Detect>| (0..4).map(|seed| seen(detector.as_mut(), seed)).collect();
            let threads: Vec<_> = detectors.iter_mut().map(|each| scope.spawn(move || look(each))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for of_replica in together {
            for (seen, alone) in of_replica.iter().zip(&alone) {
                assert_eq!(seen.detections.len(), alone.detections.len(), "{arch}");
                let classes = |findings: &InferenceResult| -> Vec<u32> {
                    let detections = findings.detections.iter().map(|found| found.class_id);
                    findings.classes.iter().map(|class| class.class_id).chain(detections).collect()
                };
                assert_eq!(classes(seen), classes(alone), "{arch}");
            }
        }
    }
}

/// Returns the resident memory of this process in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn replicas_share_their_weights() {
    // A network with 100 MB of weights.
    let one = ModelSettings { streams: Some(1), ..settings("resnet50") };
    let mut first = replicas(&one, &|_| true).unwrap();
    seen(first.detectors[0].as_mut(), 0);
    drop(first);
    let many = ModelSettings { streams: Some(12), ..one };
    let mut replicas = replicas(&many, &|_| true).unwrap();
    seen(replicas.detectors[0].as_mut(), 0);
    let before = resident();
    replicas.detectors.iter_mut().for_each(|detector| drop(seen(detector.as_mut(), 0)));
    let more = resident().saturating_sub(before);
    assert!(more < 100_000_000, "12 networks use {more} bytes more than one");
    assert!(before < 1_200_000_000, "{before} bytes");
}

#[test]
fn loading_reports_its_steps_and_can_be_cancelled() {
    let steps = RefCell::new(Vec::new());
    let note = |step| {
        steps.borrow_mut().push(step);
        true
    };
    let loaded = replicas(&settings("resnet18"), &note).unwrap();
    assert_eq!(*steps.borrow(), [LoadStep::Read, LoadStep::Prepare]);
    assert!(!loaded.first_pass.is_zero());
    let stopped = replicas(&settings("resnet18"), &|step| step == LoadStep::Read);
    assert!(matches!(stopped, Err(ModelError::Cancelled)), "{stopped:?}");
}
