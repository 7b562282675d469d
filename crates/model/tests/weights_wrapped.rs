//! Weights as training frameworks wrap them, and files that are not weights.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use lookout_config::ModelSettings;
use lookout_model::{
    ModelError, Network, load_bare,
    weights::{FormatError, StateDict, WeightsError, read},
};
use tch::{Device, Kind, Tensor};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pth").join(name)
}

#[test]
fn values_that_weights_only_accepts_are_allowed() {
    for name in ["beside.zip.pth", "beside.legacy.pth", "beside.protocol4.pth", "beside.protocol5.pth"] {
        let state = read(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let found: Vec<(&str, Vec<f32>)> = state
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), Vec::try_from(tensor).unwrap()))
            .collect();
        let expected = [
            ("bias", vec![4.0]),
            ("depth", vec![7.0]),
            ("gain", vec![5.0]),
            ("mean", vec![6.0]),
            ("weight", vec![1.0, 2.0, 3.0]),
        ];
        assert_eq!(found, expected, "{name}");
    }
}

/// Returns a file of the format before torch 1.6, with one object and one storage, `0`, of four floats.
fn legacy(object: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\
        \x80\x02}q\x00X\x0d\x00\x00\x00little_endianq\x01\x88s.";
    let numbers: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].into_iter().flat_map(f32::to_le_bytes).collect();
    [HEAD, object, b".\x80\x02]q\x00X\x01\x00\x00\x000a.", &4_u64.to_le_bytes(), &numbers].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// Returns a pickled dict.
fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [&b"}("[..], &items, b"u"].concat()
}

/// Returns a pickled tensor of the storage's first `count` values.
fn tensor(count: u8) -> Vec<u8> {
    let head = b"ctorch._utils\n_rebuild_tensor_v2\n(\
        (X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K";
    [&head[..], &[count], b"\x85K\x01\x85\x89NtR"].concat()
}

fn names(file: &[u8]) -> Vec<String> {
    StateDict::from_bytes(file).unwrap().tensors.into_keys().collect()
}

#[test]
fn state_dict_is_found_under_common_keys() {
    let network = || dict(&[("conv1.weight", tensor(2)), ("fc.bias", tensor(1))]);
    for key in ["net", "model_state", "weights", "params", "ema_state_dict", "state_dict", "model", "module"]
    {
        // Other entries of a checkpoint, one of them under a key that can also hold weights.
        let beside = [("epoch", b"K\x03".to_vec()), ("parameters", dict(&[("lr", b"K\x01".to_vec())]))];
        let items = [&beside[..], &[(key, network())]].concat();
        assert_eq!(names(&legacy(&dict(&items))), ["conv1.weight", "fc.bias"], "{key}");
        let twice = dict(&[("checkpoint", b"N".to_vec()), ("state_dict", dict(&[(key, network())]))]);
        assert_eq!(names(&legacy(&twice)), ["conv1.weight", "fc.bias"], "state_dict, {key}");
    }
    // If there are several candidates, the network as trained is used, not its moving average.
    let other = dict(&[("other", tensor(1))]);
    let both = dict(&[("ema_state_dict", other), ("model", network())]);
    assert_eq!(names(&legacy(&both)), ["conv1.weight", "fc.bias"]);
}

#[test]
fn wrapper_prefixes_are_removed() {
    for prefix in
        ["_orig_mod.", "module.", "model.", "net.", "module._orig_mod.", "_orig_mod.module.", "model.net."]
    {
        let [conv, bias] = ["conv1.weight", "fc.bias"].map(|name| format!("{prefix}{name}"));
        let plain = dict(&[(&conv, tensor(2)), (&bias, tensor(1))]);
        assert_eq!(names(&legacy(&plain)), ["conv1.weight", "fc.bias"], "{prefix}");
        // The counter of AveragedModel.
        let averaged = dict(&[("n_averaged", tensor(1)), (&conv, tensor(2)), (&bias, tensor(1))]);
        let in_a_checkpoint = dict(&[("ema", averaged.clone()), ("epoch", b"K\x03".to_vec())]);
        for file in [averaged, in_a_checkpoint] {
            assert_eq!(names(&legacy(&file)), ["conv1.weight", "fc.bias"], "{prefix}");
        }
    }
}

fn state(tensors: &[(&str, Tensor)]) -> StateDict {
    let tensors = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect();
    StateDict { tensors, digest: "sha256:0".into() }
}

#[test]
fn wrapper_prefixes_are_removed_from_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrapped.safetensors");
    let one = Tensor::from_slice(&[1.0_f32]);
    let names = ["module._orig_mod.conv1.weight", "module._orig_mod.fc.bias", "n_averaged"];
    state(&names.map(|name| (name, one.shallow_clone()))).write_safetensors(&path).unwrap();
    assert_eq!(read(&path).unwrap().tensors.into_keys().collect::<Vec<_>>(), ["conv1.weight", "fc.bias"]);
}

#[test]
fn non_finite_values_are_an_error_with_the_tensor_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    let good = Tensor::ones([4, 3], (Kind::Float, Device::Cpu));
    for (number, kind) in [
        (f64::NAN, Kind::Float),
        (f64::INFINITY, Kind::Half),
        (f64::NEG_INFINITY, Kind::BFloat16),
        // Finite, but not representable in fp32.
        (1e300, Kind::Double),
    ] {
        let bad = good.copy().to_kind(kind);
        let _ = bad.get(2).get(1).fill_(number);
        state(&[("a.weight", good.shallow_clone()), ("layer4.1.conv2.weight", bad)])
            .write_safetensors(&path)
            .unwrap();
        match read(&path) {
            Err(WeightsError::Format { source: FormatError::NotFinite { name, count, numel }, .. }) => {
                assert_eq!((name.as_str(), count, numel), ("layer4.1.conv2.weight", 1, 12));
            }
            other => panic!("{number} {kind:?}: {other:?}"),
        }
    }
    let variance = Tensor::from_slice(&[1.0_f32, -0.5]);
    state(&[("bn1.running_var", variance)]).write_safetensors(&path).unwrap();
    let error = read(&path).unwrap_err();
    assert!(
        matches!(&error, WeightsError::Format { source: FormatError::NegativeVariance { .. }, .. }),
        "{error:?}"
    );
}

#[test]
fn error_describes_a_file_that_is_not_weights() {
    let pth = fs::read(fixture("views.zip.pth")).unwrap();
    let tensors = fs::read(fixture("types.safetensors")).unwrap();
    for (content, what) in [
        (&b""[..], "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 102530333\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "an HTML page"),
        (&pth[..pth.len() / 2], "cut off"),
        (&pth[..pth.len() - 1], "cut off"),
        (&tensors[..tensors.len() / 2], "cut off"),
        (&tensors[..40], "cut off"),
        (&[0; 4096], "zeros"),
    ] {
        let error = StateDict::from_bytes(content).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("fetch it again"), "{what}: {error}");
    }
}

/// Returns a ResNet-18 of two classes whose tensor names have a prefix.
fn resnet18(prefix: &str) -> BTreeMap<String, Tensor> {
    let mut network = Network::new("resnet18", 2).unwrap();
    network.fill(3);
    network.tensors().into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

/// Loads weights with a pipeline's `arch`.
fn loaded(arch: &str, tensors: BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    StateDict { tensors, digest: "sha256:0".into() }.write_safetensors(&path).unwrap();
    load_bare(&ModelSettings::named(arch, path.to_str().unwrap())).map(drop)
}

fn error_text(error: &ModelError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(reason) = source {
        text = format!("{text}: {reason}");
        source = reason.source();
    }
    text
}

#[test]
fn network_is_found_under_any_prefix_among_other_tensors() {
    let mut all = resnet18("trainer.encoder.");
    all.insert("trainer.loss.scale".into(), Tensor::from(1.0_f32));
    loaded("resnet18", all).unwrap();
    let mut both = resnet18("student.");
    both.extend(resnet18("teacher."));
    let error = error_text(&loaded("resnet18", both).unwrap_err());
    for part in ["[model]", "`student.`, `teacher.`", "lookout weights import FILE --prefix student."] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn mismatch_error_has_file_section_and_advice() {
    let error = error_text(&loaded("resnet34", resnet18("")).unwrap_err());
    for part in [
        "[model] `weights`",
        "weights.safetensors",
        "does not fit resnet34",
        "arch = \"resnet18\"",
        "missing: ",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let one = || Tensor::from_slice(&[1.0_f32]);
    let strangers =
        BTreeMap::from([("encoder.stem.a".to_owned(), one()), ("encoder.stem.b".to_owned(), one())]);
    let error = error_text(&loaded("resnet18", strangers).unwrap_err());
    for part in ["`encoder.`", "lookout weights import FILE --prefix encoder."] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
