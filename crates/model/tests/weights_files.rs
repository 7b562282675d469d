//! Files written by torch and safetensors (`pth/generate.py`).

use std::path::PathBuf;

use lookout_model::weights::{FormatError, StateDict, WeightsError, read};
use tch::{Kind, Tensor};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pth").join(name)
}

fn state(name: &str) -> StateDict {
    read(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// Returns start, start + 1, ..., like `fill` of the generator.
fn fill(size: &[i64], start: i64, kind: Kind) -> Tensor {
    let numel: i64 = size.iter().product();
    Tensor::arange_start(start, start + numel, (Kind::Float, tch::Device::Cpu)).reshape(size).to_kind(kind)
}

fn assert_same(state: &StateDict, name: &str, expected: &Tensor) {
    let found = state.tensors.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(found.size(), expected.size(), "{name}");
    assert_eq!(found.kind(), expected.kind(), "{name}");
    assert_eq!(*found, *expected, "{name}");
}

fn assert_block(state: &StateDict) {
    assert_same(state, "0.weight", &fill(&[3, 2, 2, 2], 0, Kind::Float));
    let norm = ["weight", "bias", "running_mean", "running_var"];
    for (name, start) in norm.iter().zip([100, 200, 300, 400]) {
        assert_same(state, &format!("1.{name}"), &fill(&[3], start, Kind::Float));
    }
    assert_same(state, "1.num_batches_tracked", &fill(&[], 500, Kind::Int64));
    assert_eq!(state.tensors.len(), 6);
}

#[test]
fn a_state_dict_reads_the_same_in_every_format() {
    let names = [
        "block.zip.pth",
        "block.legacy.pth",
        "block.protocol4.pth",
        "block.protocol4.legacy.pth",
        "block.safetensors",
    ];
    for name in names {
        assert_block(&state(name));
    }
}

#[test]
fn checkpoint_state_dict_is_read_without_data_parallel_prefix() {
    assert_block(&state("checkpoint.zip.pth"));
    assert_block(&state("checkpoint.legacy.pth"));
}

#[test]
fn nested_dict_keys_become_name_prefixes() {
    for name in ["parameters.zip.pth", "parameters.legacy.pth"] {
        let state = state(name);
        assert_same(&state, "head.weight", &fill(&[2, 2], 0, Kind::Float));
        assert_eq!(state.tensors.len(), 1);
    }
}

#[test]
fn all_dtypes_are_preserved() {
    let floats = [
        ("float16", Kind::Half),
        ("bfloat16", Kind::BFloat16),
        ("float32", Kind::Float),
        ("float64", Kind::Double),
    ];
    let ints = [
        ("int8", Kind::Int8),
        ("uint8", Kind::Uint8),
        ("int16", Kind::Int16),
        ("int32", Kind::Int),
        ("int64", Kind::Int64),
    ];
    for name in ["types.zip.pth", "types.legacy.pth", "types.safetensors"] {
        let state = state(name);
        for (name, kind) in floats.iter().chain(&ints) {
            assert_same(&state, name, &fill(&[2, 3], 1, *kind));
        }
        assert_same(&state, "bool", &Tensor::from_slice(&[true, false, true]));
        assert_eq!(state.tensors.len(), 10);
    }
}

#[test]
fn views_keep_their_strides_and_offsets() {
    for name in ["views.zip.pth", "views.legacy.pth"] {
        let state = state(name);
        let base = fill(&[4, 6], 0, Kind::Float);
        assert_same(&state, "base", &base);
        assert_same(&state, "transposed", &base.tr());
        assert_same(&state, "row", &base.get(2));
        assert_same(&state, "column", &base.select(1, 1));
        assert_same(&state, "steps", &base.slice(0, 1, None, 2).slice(1, None, None, 3));
        assert_same(&state, "expanded", &Tensor::from_slice(&[7.0_f32; 5]));
        assert_same(&state, "channels_last", &fill(&[2, 3, 2, 2], 50, Kind::Float));
        assert_same(&state, "empty", &Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu)));
        assert_same(&state, "scalar", &Tensor::from(42.5_f32));
        assert_eq!(state.tensors.len(), 9);
    }
}

#[test]
fn digest_is_the_sha256_of_the_file() {
    let empty_sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let digest = state("block.safetensors").digest;
    assert_eq!(digest.len(), empty_sum.len());
    assert_ne!(digest, empty_sum);
    assert_eq!(digest, state("block.safetensors").digest);
    assert_ne!(digest, state("block.zip.pth").digest);
}

/// Returns the source of the error for a file.
fn refused(name: &str) -> FormatError {
    match read(&fixture(name)) {
        Err(WeightsError::Format { path, source }) => {
            assert_eq!(path, fixture(name));
            source
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn unsupported_content_is_named_in_the_error() {
    let module = refused("refused.module.pth");
    assert!(
        matches!(&module, FormatError::Global { name } if name == "torch.nn.modules.container.Sequential"),
        "{module:?}"
    );
    assert!(module.to_string().contains("save `model.state_dict()`"), "{module}");
    let unsupported = |name| match refused(name) {
        FormatError::Unsupported { what } => what,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(unsupported("refused.sparse.pth"), "a sparse tensor");
    assert_eq!(unsupported("refused.quantized.pth"), "a quantized tensor");
    assert_eq!(unsupported("refused.complex.pth"), "a tensor of complex numbers");
    assert!(matches!(refused("refused.torchscript.pth"), FormatError::TorchScript));
    match refused("refused.empty.pth") {
        FormatError::NoTensors { found } => assert_eq!(found, "`epoch`, `lr`"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn folder_and_missing_file_are_errors() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    assert!(matches!(read(&folder), Err(WeightsError::NotAFile { path }) if path == folder));
    let missing = fixture("missing.pth");
    assert!(matches!(read(&missing), Err(WeightsError::Read { path, .. }) if path == missing));
}

#[test]
fn written_safetensors_read_back_equal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/weights.safetensors");
    for name in ["block.zip.pth", "types.legacy.pth", "views.zip.pth"] {
        let original = state(name);
        original.write_safetensors(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        original.write_safetensors(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the same tensors were written as another file");
        let copy = read(&path).unwrap();
        assert_eq!(copy.tensors.len(), original.tensors.len());
        for (name, tensor) in &original.tensors {
            assert_same(&copy, name, tensor);
        }
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "an unfinished file was left: {names:?}");
    }
}
