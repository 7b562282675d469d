//! Detectors from their settings to the detections in a camera's frame.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use lookout_config::{Device, ModelSettings, Precision};
use lookout_model::{
    Loaded, Network, load,
    weights::{StateDict, WeightsError},
};
use lookout_schema::{Region, Size};
use lookout_stage::{DetectFrame, DetectionFilter, Pixels, ResizeMode};
use tch::Tensor;

fn loaded(arch: &str, settings: &ModelSettings) -> Loaded {
    let common = ModelSettings {
        device: Device::Cpu,
        precision: Precision::Fp32,
        ..ModelSettings::named(arch, "random:7")
    };
    load(&ModelSettings { input: settings.input, score_threshold: settings.score_threshold, ..common })
        .unwrap()
}

/// Returns an image of coarse colored patches.
fn image(size: Size) -> Pixels {
    let byte = |i: u32| (i / 3 % size.width / 24 * 71 + i / 3 / size.width / 24 * 97 + i % 3 * 50) as u8;
    Pixels::new(size, (0..size.width * size.height * 3).map(byte).collect::<Vec<_>>()).unwrap()
}

#[test]
fn boxes_are_inside_the_source_with_area_and_label() {
    // Sides that are not multiples of 32.
    let (input, source) = (Size { width: 200, height: 120 }, Size { width: 1280, height: 960 });
    let settings =
        ModelSettings { input: Some(input), score_threshold: Some(0.05), ..ModelSettings::named("", "") };
    for arch in ["fcos_resnet50_fpn", "retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn"] {
        let mut loaded = loaded(arch, &settings);
        assert_eq!(loaded.fit, ResizeMode::Letterbox);
        let pixels = image(input);
        let placement = loaded.fit.place(source, input);
        let frame = DetectFrame { pixels: &pixels, source, placement, keep: DetectionFilter::all() };
        let findings = loaded.detector.detect(&[frame, frame]).unwrap().findings;
        assert_eq!(findings.len(), 2);
        for finding in &findings {
            assert!(!finding.detections.is_empty(), "{arch}");
            for found in &finding.detections {
                let b = found.bbox;
                assert!(0.0 <= b.x1 && b.x1 < b.x2 && b.x2 <= 1280.0, "{arch} {b:?}");
                assert!(0.0 <= b.y1 && b.y1 < b.y2 && b.y2 <= 960.0, "{arch} {b:?}");
                assert!(found.score > 0.05 && found.score <= 1.0);
                assert!(!["", "N/A", "__background__"].contains(&found.label.as_str()), "{found:?}");
            }
            assert!(finding.detections.is_sorted_by(|a, b| a.score >= b.score));
        }
        assert!(loaded.detector.detect(&[]).unwrap().findings.is_empty());

        // Only detections of one class in the left half.
        let corners = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        let label = findings[0].detections[0].label.clone();
        let keep =
            DetectionFilter { regions: vec![Region::new(corners.to_vec()).unwrap()], classes: vec![label] };
        let kept = loaded.detector.detect(&[DetectFrame { keep: &keep, ..frame }, frame]).unwrap().findings;
        let wanted =
            findings[0].detections.iter().filter(|found| keep.keeps(&found.label, found.bbox, source));
        assert_eq!(kept[0].detections.len(), wanted.count(), "{arch}");
        assert!(kept[0].detections.len() < findings[0].detections.len(), "{arch}");
    }
}

#[test]
fn detector_has_its_default_input() {
    let loaded = loaded("fcos_resnet50_fpn", &ModelSettings::named("", ""));
    assert_eq!(loaded.input, Size { width: 640, height: 384 });
}

/// Returns the tensor's name in torchvision before version 0.13.
fn old_name(name: &str) -> String {
    let renamed = |part: &str| {
        let (before, after) = name.split_once(part)?;
        let (index, rest) = after.split_once(".0.")?;
        let index: usize = index.parse().ok()?;
        let index = if part.ends_with("conv.") { index * 2 } else { index };
        Some(format!("{before}{part}{index}.{rest}"))
    };
    if let Some(parameter) = name.strip_prefix("rpn.head.conv.0.0.") {
        return format!("rpn.head.conv.{parameter}");
    }
    let parts = [".inner_blocks.", ".layer_blocks.", "classification_head.conv.", "regression_head.conv."];
    parts.into_iter().find_map(renamed).unwrap_or_else(|| name.to_owned())
}

#[test]
fn old_torchvision_files_load() {
    for (arch, renamed) in
        [("retinanet_resnet50_fpn", 28), ("fasterrcnn_resnet50_fpn", 18), ("fcos_resnet50_fpn", 12)]
    {
        let mut network = Network::new(arch, 4).unwrap();
        network.fill(1);
        let tensors: BTreeMap<String, Tensor> =
            network.tensors().into_iter().map(|(name, tensor)| (old_name(&name), tensor)).collect();
        let old = tensors.keys().filter(|name| !network.tensors().contains_key(*name)).count();
        assert_eq!(old, renamed, "{arch}");
        Network::from_state(arch, StateDict { tensors, digest: String::new() }).unwrap();
    }
}

#[test]
fn mismatched_tensors_are_named() {
    let mut network = Network::new("fcos_resnet50_fpn", 4).unwrap();
    network.fill(1);
    let mut tensors = network.tensors();
    tensors.remove("head.regression_head.bbox_ctrness.bias");
    let state = StateDict { tensors, digest: String::new() };
    let error = Network::from_state("fcos_resnet50_fpn", state).unwrap_err();
    let lookout_model::ModelError::Weights(WeightsError::Misfit(misfit)) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(misfit.missing, ["head.regression_head.bbox_ctrness.bias"]);
}

#[test]
fn classifier_weights_load_as_a_detector_backbone() {
    let mut classifier = Network::new("resnet50", 7).unwrap();
    classifier.fill(3);
    let state = |network: &Network| StateDict { tensors: network.tensors(), digest: String::new() };
    for arch in ["retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"] {
        let mut detector = Network::new(arch, 4).unwrap();
        detector.fill(1);
        let rest = |network: &Network| {
            let tensors = network.tensors().into_iter();
            tensors
                .filter(|(name, _)| !name.starts_with("backbone.body."))
                .map(|(name, tensor)| (name, tensor.copy()))
                .collect::<BTreeMap<_, _>>()
        };
        let before = rest(&detector);
        detector.load_backbone(state(&classifier)).unwrap();
        let tensors = detector.tensors();
        for (name, tensor) in classifier.tensors() {
            if let Some(own) = tensors.get(&format!("backbone.body.{name}")) {
                assert!(own.equal(&tensor), "{name}");
            } else {
                assert!(name.starts_with("fc.") || name.ends_with("num_batches_tracked"), "{name}");
            }
        }
        assert!(before.iter().all(|(name, tensor)| tensor.equal(&tensors[name])));
        let error = detector.load_backbone(state(&Network::new("resnet18", 7).unwrap())).unwrap_err();
        assert!(error.to_string().contains("backbone.body.layer1.0.conv3.weight"), "{error}");
    }
    assert!(classifier.load_backbone(state(&Network::new("resnet50", 7).unwrap())).is_err());
}
