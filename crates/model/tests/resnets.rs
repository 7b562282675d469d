//! The classifiers against torchvision (`goldens/make_resnets.py`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use lookout_config::{Device, ModelSettings, Precision, Task, arch_names_of};
use lookout_model::{RawInput, ResizedImage, Target, load, load_raw, random_values};
use lookout_schema::Size;
use lookout_stage::{DetectFrame, DetectionFilter, ResizeMode};
use tch::{Kind, Tensor};

const SEED: u64 = 7;
/// The sizes of the inputs, with the names that the generator gives them.
const SIZES: [(&str, [i64; 4]); 2] = [("even", [2, 3, 64, 96]), ("odd", [1, 3, 65, 79])];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn logits() -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(golden("resnets.safetensors")).unwrap().into_iter().collect()
}

fn settings(arch: &str, precision: Precision) -> ModelSettings {
    ModelSettings { device: Device::Cpu, precision, ..ModelSettings::named(arch, &format!("random:{SEED}")) }
}

fn furthest(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn prepared_networks_match_torchvision_logits() {
    let goldens = logits();
    // The detectors have goldens of their own, and torchvision has no plain networks.
    for arch in arch_names_of(Task::Classification).filter(|arch| !arch.starts_with("plain")) {
        let network = load_raw(&settings(arch, Precision::Fp32)).unwrap().into_classifier().unwrap();
        for (name, size) in SIZES {
            let x = random_values(name, SEED, &size, -2.0..2.0);
            let off = furthest(&network.forward(&x), &goldens[&format!("{arch}.{name}")]);
            assert!(off < 1e-5, "{arch} {name}: {off}");
        }
    }
}

#[test]
fn bf16_is_close_to_fp32_with_the_same_top_class() {
    let goldens = logits();
    for arch in ["resnet18", "resnet50", "resnext50_32x4d"] {
        let network = load_raw(&settings(arch, Precision::Bf16)).unwrap().into_classifier().unwrap();
        assert_eq!(network.target().precision().as_str(), "bf16");
        let (name, size) = SIZES[0];
        let expected = &goldens[&format!("{arch}.{name}")];
        let found = network.forward(&random_values(name, SEED, &size, -2.0..2.0));
        assert_eq!(found.kind(), Kind::Float);
        let off = furthest(&found, expected);
        assert!(off < 0.02 && off > 0.0, "{arch}: {off}");
        assert_eq!(found.argmax(-1, false), expected.argmax(-1, false));
    }
}

#[test]
fn raw_tensors_are_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let (name, size) = SIZES[0];
    let (input, output) = (folder.path().join("x.safetensors"), folder.path().join("y.safetensors"));
    let x = random_values(name, SEED, &size, -2.0..2.0);
    Tensor::write_safetensors(&[("x", &x)], &input).unwrap();
    let network = load_raw(&settings("resnet18", Precision::Fp32)).unwrap();
    network.run_raw(&RawInput::read(&input).unwrap()).unwrap().write(&output).unwrap();
    let written = Tensor::read_safetensors(&output).unwrap();
    assert_eq!(written[0].0, "logits");
    assert!(furthest(&written[0].1, &logits()["resnet18.even"]) < 1e-5);

    for (tensor, part) in [
        (("y", x.shallow_clone()), "holds no tensor `x`; it holds [\"y\"]"),
        (("x", x.to_kind(Kind::Double)), "of Double"),
        (("x", x.get(0)), "[3, 64, 96]"),
        (("x", x.slice(3, 0, 16, 1).contiguous()), "at least 32"),
    ] {
        Tensor::write_safetensors(&[(tensor.0, &tensor.1)], &input).unwrap();
        let error = RawInput::read(&input).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("x.safetensors"), "{error}");
    }
    fs::write(&input, "no tensors").unwrap();
    assert!(RawInput::read(&input).unwrap_err().to_string().contains("cannot be read as .safetensors"));
}

/// Returns the number of bytes that differ by more than `most`, and the largest difference.
fn differences(a: &[u8], b: &[u8], most: u8) -> (usize, u8) {
    let far = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (far.clone().filter(|far| *far > most).count(), far.max().unwrap_or(0))
}

#[test]
fn evaluation_transform_matches_torchvision() {
    let input = Size { width: 224, height: 224 };
    for short_side in [256, 232] {
        let image =
            ResizedImage::read(&golden("street.png"), ResizeMode::CenterCrop { short_side }, input).unwrap();
        assert_eq!(image.source, Size { width: 384, height: 288 });
        let expected = image::open(golden(&format!("street.{short_side}.png"))).unwrap().to_rgb8();
        let (many, furthest) = differences(image.pixels.rgb(), expected.as_raw(), 1);
        assert_eq!(many, 0, "{short_side}: the largest difference is {furthest}");
    }
}

#[test]
fn batch_results_equal_single_image_results() {
    let mut loaded = load(&settings("resnet18", Precision::Fp32)).unwrap();
    assert_eq!(
        (loaded.input, loaded.fit),
        (Size { width: 224, height: 224 }, ResizeMode::CenterCrop { short_side: 256 })
    );
    let images = ["street.png", "street.256.png"]
        .map(|name| ResizedImage::read(&golden(name), loaded.fit, loaded.input).unwrap());
    let frames = images.each_ref().map(|image| DetectFrame {
        pixels: &image.pixels,
        source: image.source,
        placement: image.placement,
        keep: DetectionFilter::all(),
    });
    let together = loaded.detector.detect(&frames).unwrap().findings;
    for (frame, found) in frames.into_iter().zip(&together) {
        let alone = loaded.detector.detect(&[frame]).unwrap().findings;
        assert_eq!(found.classes.len(), 5);
        for (a, b) in found.classes.iter().zip(&alone[0].classes) {
            assert_eq!((a.class_id, &a.label), (b.class_id, &b.label));
            assert!((a.score - b.score).abs() < 1e-5);
        }
        assert!(found.classes.is_sorted_by(|a, b| a.score >= b.score));
    }
    assert!(loaded.detector.detect(&[]).unwrap().findings.is_empty());
}

#[test]
fn load_errors_state_the_reason() {
    let fp16 = Target::choose(Device::Cpu, Precision::Fp16).unwrap_err();
    assert!(fp16.to_string().contains("fp16 runs on GPUs only"));
    let gpu = Target::choose(Device::Cuda(63), Precision::Auto).unwrap_err();
    assert!(gpu.to_string().contains("there is no GPU 63"), "{gpu}");
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "cat\ndog\n").unwrap();
    let settings = ModelSettings { labels: Some(labels), ..settings("resnet18", Precision::Fp32) };
    let error = load(&settings).unwrap_err().to_string();
    assert!(error.contains("names 2 classes and the network has 1000"), "{error}");
}
