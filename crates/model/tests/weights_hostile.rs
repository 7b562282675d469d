//! Damaged and malicious files result in an error, never in a panic, an abort or high memory use.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use lookout_model::weights::{FormatError, StateDict};
use proptest::prelude::*;

const FILES: [&str; 9] = [
    "block.zip.pth",
    "block.legacy.pth",
    "block.protocol4.legacy.pth",
    "block.safetensors",
    "checkpoint.legacy.pth",
    "types.safetensors",
    "views.legacy.pth",
    "views.zip.pth",
    "refused.torchscript.pth",
];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pth").join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<StateDict, FormatError> {
    StateDict::from_bytes(bytes)
}

/// Reads every value, so that a view beyond its memory is detected.
fn touch(state: &StateDict) -> f64 {
    state.tensors.values().map(|tensor| tensor.sum(tch::Kind::Double).double_value(&[])).sum()
}

#[test]
fn every_truncation_is_an_error() {
    for name in FILES {
        let whole = file(name);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{name} cut off after {length} bytes");
        }
    }
}

#[test]
fn extreme_byte_values_do_not_panic() {
    for name in ["block.legacy.pth", "block.safetensors", "block.zip.pth"] {
        let mut bytes = file(name);
        for at in 0..bytes.len() {
            let was = bytes[at];
            for value in [0x00, 0x7f, 0x80, 0xff, was ^ 1] {
                bytes[at] = value;
                if let Ok(state) = read(&bytes) {
                    touch(&state);
                }
            }
            bytes[at] = was;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_do_not_panic(
        which in 0..FILES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = file(FILES[which]);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(state) = read(&bytes) {
            touch(&state);
        }
    }

    #[test]
    fn random_bytes_after_each_file_header_do_not_panic(
        head in prop::sample::select(vec![
            &b"PK\x03\x04"[..], LEGACY_HEAD, b"\x10\x00\x00\x00\x00\x00\x00\x00{", b"",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut file = head.to_vec();
        file.extend(bytes);
        _ = read(&file);
    }

    #[test]
    fn random_pickle_programs_do_not_panic(
        program in prop::collection::vec(instruction(), 0..60),
        tail in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut file = LEGACY_HEAD.to_vec();
        file.extend(program.concat());
        file.extend(b".\x80\x02]q\x00X\x01\x00\x00\x000a.");
        file.extend(tail);
        if let Ok(state) = read(&file) {
            touch(&state);
        }
    }
}

/// The first three pickles of the format before torch 1.6: magic number, version, machine.
const LEGACY_HEAD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\
    \x80\x02}q\x00X\x0d\x00\x00\x00little_endianq\x01\x88s.";

/// Generates an opcode that the pickle machine supports, with operands; opcodes that build tensors are more
/// likely.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let plain = prop::sample::select(b"(012N]})taesuRbQ.\x85\x86\x87\x88\x89\x94\x93".to_vec());
    let text = |text: &'static str| {
        let mut code = vec![0x8c, text.len() as u8];
        code.extend(text.as_bytes());
        code
    };
    let storage =
        [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x04tQ"]
            .concat();
    let fixed = prop::sample::select(vec![
        b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(),
        b"ctorch._utils\n_rebuild_parameter\n".to_vec(),
        b"ccollections\nOrderedDict\n".to_vec(),
        b"ctorch\nSize\n".to_vec(),
        text("state_dict"),
        text("w"),
        storage.clone(),
        [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage, b"K\x00K\x02\x85K\x01\x85\x89NtR"].concat(),
        b"}q\x00".to_vec(),
    ]);
    prop_oneof![
        plain.prop_map(|code| vec![code]),
        any::<u8>().prop_map(|int| vec![b'K', int]),
        any::<[u8; 4]>().prop_map(|int| [&b"J"[..], &int].concat()),
        (0_u8..4).prop_map(|key| vec![b'q', key]),
        (0_u8..4).prop_map(|key| vec![b'h', key]),
        fixed.clone(),
        fixed,
    ]
}

/// Returns a file of the format before torch 1.6, with one object and one storage, `0`, of four floats.
fn legacy(object: &[u8]) -> Vec<u8> {
    let keys = b"\x80\x02]q\x00X\x01\x00\x00\x000a.";
    [LEGACY_HEAD, object, keys, &4_u64.to_le_bytes(), &[0; 16]].concat()
}

/// Returns a pickle of `{"w": tensor}`, a view of the storage with these pickled values.
fn viewed(offset: &[u8], size: &[u8], stride: &[u8]) -> Vec<u8> {
    let head = b"}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(\
        (X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ";
    legacy(&[&head[..], offset, size, stride, b"\x89NtRs."].concat())
}

fn long(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

fn tuple(values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().copied().flat_map(long).collect();
    [&b"("[..], &values, b"t"].concat()
}

#[test]
fn views_outside_of_their_storage_are_errors() {
    let state = |offset: i64, size: &[i64], stride: &[i64]| {
        read(&viewed(&long(offset), &tuple(size), &tuple(stride)))
    };
    let fits = state(1, &[3], &[1]).unwrap();
    assert_eq!(fits.tensors["w"].size(), [3]);
    assert_eq!(state(0, &[0, i64::MAX, 5], &[-0, 1, 1]).unwrap().tensors["w"].numel(), 0);
    let wrong: [(i64, &[i64], &[i64]); 12] = [
        (2, &[3], &[1]),
        (4, &[1], &[1]),
        (-1, &[2], &[1]),
        (i64::MAX, &[2], &[1]),
        (0, &[5], &[1]),
        (0, &[2], &[4]),
        (0, &[2], &[-1]),
        (0, &[-2], &[1]),
        (0, &[2, 2], &[1]),
        (0, &[i64::MAX, i64::MAX], &[i64::MAX, i64::MAX]),
        (0, &[i64::MAX, i64::MAX], &[0, 0]),
        // It fits in its storage, but no memory is large enough.
        (0, &[1 << 40], &[0]),
    ];
    for (offset, size, stride) in wrong {
        let read = state(offset, size, stride);
        assert!(
            matches!(&read, Err(FormatError::Tensor { name, .. }) if name == "w"),
            "{offset} {size:?} {stride:?}: {read:?}"
        );
    }
    assert!(state(0, &[1; 17], &[1; 17]).is_err(), "17 dimensions were accepted");
}

#[test]
fn ordered_dict_from_a_list_of_pairs_is_read() {
    // Written by Python 2: OrderedDict([["w", tensor]]).
    let tensor = &b"ctorch._utils\n_rebuild_tensor\n(\
        (U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQK\x01K\x03\x85K\x01\x85tR"[..];
    let program = [b"ccollections\nOrderedDict\n]]U\x01wa", tensor, b"aa\x85R."].concat();
    assert_eq!(read(&legacy(&program)).unwrap().tensors["w"].size(), [3]);
    let odd = b"ccollections\nOrderedDict\n]]U\x01waa\x85R.";
    assert!(matches!(read(&legacy(odd)), Err(FormatError::Pickle { .. })));
}

#[test]
fn python_objects_are_refused_by_name() {
    for (program, expected) in [
        (&b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "os.system"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
        (b"\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"ca\x1b[2J\nb\n.", "a\\u{1b}[2J.b"),
    ] {
        match read(&legacy(program)) {
            Err(FormatError::Global { name }) => assert_eq!(name, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    for code in [b"i".as_slice(), b"o", b"\x92", b"\x82\x01", b"P0\n"] {
        let refused = read(&legacy(&[b"((", code, b"."].concat()));
        assert!(matches!(refused, Err(FormatError::Opcode { .. })), "{code:?}: {refused:?}");
    }
    // An object of an unknown class, with each way to construct it.
    for make in [&b")\x81"[..], b")R", b")\x81}b"] {
        let refused = read(&legacy(&[b"ctorch.nn\nModule\n", make, b"."].concat()));
        assert!(
            matches!(&refused, Err(FormatError::Global { name }) if name == "torch.nn.Module"),
            "{refused:?}"
        );
    }
}

#[test]
fn deeply_nested_calls_terminate() {
    // Nested calls _rebuild_from_type_v2(_rebuild_from_type_v2, Tensor, ...), 100,000 levels deep.
    let mut program = Vec::new();
    for _ in 0..100_000 {
        program.extend(b"(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\n");
    }
    program.extend(b"N");
    for _ in 0..100_000 {
        program.extend(b"Nt");
    }
    let program = [b"ctorch._tensor\n_rebuild_from_type_v2\n", &program[..], b"R."].concat();
    assert!(matches!(read(&legacy(&program)), Err(FormatError::Pickle { .. })));
}

#[test]
fn self_referencing_pickles_terminate() {
    // d = {}; d["x"] = d
    assert!(read(&legacy(b"}q\x00X\x01\x00\x00\x00xh\x00s.")).is_err());
    // d = {}; d["model"] = d
    assert!(read(&legacy(b"}q\x00X\x05\x00\x00\x00modelh\x00s.")).is_err());
    // Each dict contains the previous one twice, 30 levels deep: 2^30 paths.
    let mut program = b"}q\x00".to_vec();
    for level in 0..30_u8 {
        program.extend([
            b'}',
            b'(',
            0x8c,
            1,
            b'a',
            b'h',
            level,
            0x8c,
            1,
            b'b',
            b'h',
            level,
            b'u',
            b'q',
            level + 1,
        ]);
    }
    program.push(b'.');
    assert!(read(&legacy(&program)).is_err());
}

#[test]
fn small_programs_cannot_allocate_much_memory() {
    // A list of 65,536 pairs that is repeatedly converted to a dict, with seven bytes each time.
    let mut program = b"](".to_vec();
    for _ in 0..1 << 16 {
        program.extend(b"K\x00K\x00\x86");
    }
    program.extend(b"eq\x00");
    for _ in 0..1_000 {
        program.extend(b"ccollections\nOrderedDict\nh\x00\x85R0");
    }
    assert!(matches!(read(&legacy(&program)), Err(FormatError::TooManyValues { .. })));
    // Lengths beyond the end of the file.
    for claim in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"B\xff\xff\xff\xff",
        b"\x8a\xff",
    ] {
        assert!(
            matches!(read(&[LEGACY_HEAD, claim].concat()), Err(FormatError::Truncated { .. })),
            "{claim:?}"
        );
    }
    let mut storage = viewed(&long(0), &tuple(&[4]), &tuple(&[1]));
    let count = storage.len() - 24;
    storage[count..count + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(read(&storage), Err(FormatError::Truncated { .. })));
}

#[test]
fn big_endian_files_are_refused() {
    let mut head = LEGACY_HEAD.to_vec();
    let order = head.len() - 3;
    assert_eq!(head[order], 0x88);
    head[order] = 0x89;
    assert!(matches!(read(&head), Err(FormatError::BigEndian)));
}

#[test]
fn duplicate_names_are_an_error() {
    let tensor = &b"ctorch._utils\n_rebuild_tensor_v2\n(\
        (X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ\
        K\x00K\x04\x85K\x01\x85\x89NtR"[..];
    let twice = [b"}(X\x01\x00\x00\x00w", tensor, b"X\x01\x00\x00\x00w", tensor, b"u."].concat();
    assert!(matches!(read(&legacy(&twice)), Err(FormatError::Duplicate { name }) if name == "w"));
    let header = br#"{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    assert!(matches!(read(&file), Err(FormatError::Duplicate { name }) if name == "w"));
}
