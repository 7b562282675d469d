//! Zip archives that were not written by torch.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Cursor, Write};

use lookout_model::weights::{FormatError, StateDict};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A pickle of `{"w": tensor}`, with four floats of the storage 0.
const PICKLE: &[u8] = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(\
    (X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ\
    K\x00K\x04\x85K\x01\x85\x89NtRs.";

fn archive(entries: &[(&str, &[u8])], compression: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(compression)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn stored(entries: &[(&str, &[u8])]) -> Result<StateDict, FormatError> {
    StateDict::from_bytes(&archive(entries, CompressionMethod::Stored))
}

/// Returns the description in the error for a malformed file.
fn malformed(read: Result<StateDict, FormatError>) -> String {
    match read {
        Err(FormatError::Malformed { what }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn minimal_torch_zip_is_read() {
    let state = stored(&[("a/data.pkl", PICKLE), ("a/data/0", &[0; 16])]).unwrap();
    assert_eq!(state.tensors["w"].size(), [4]);
    let little = [("a/data.pkl", PICKLE), ("a/byteorder", b"little"), ("a/data/0", &[0; 16])];
    stored(&little).unwrap();
}

#[test]
fn big_endian_archives_are_refused() {
    let big = [("a/data.pkl", PICKLE), ("a/byteorder", b"big"), ("a/data/0", &[0; 16])];
    assert!(matches!(stored(&big), Err(FormatError::BigEndian)));
}

#[test]
fn compressed_entries_are_refused_before_they_are_unpacked() {
    let bomb = vec![0; 1 << 24];
    let entries: [(&str, &[u8]); 2] = [("a/data.pkl", PICKLE), ("a/data/0", &bomb)];
    let file = archive(&entries, CompressionMethod::Deflated);
    assert!(file.len() < 1 << 16);
    assert!(malformed(StateDict::from_bytes(&file)).contains("compressed"));
}

#[test]
fn missing_or_wrong_size_storage_is_an_error() {
    assert!(matches!(stored(&[("a/data.pkl", PICKLE)]), Err(FormatError::Zip(_))));
    for bytes in [&[0_u8; 12][..], &[0; 20], &[]] {
        let read = stored(&[("a/data.pkl", PICKLE), ("a/data/0", bytes)]);
        assert!(matches!(read, Err(FormatError::Tensor { .. })), "{read:?}");
    }
}

#[test]
fn other_zip_archives_are_described() {
    assert!(malformed(stored(&[("readme.txt", b"hello")])).contains("not one that torch.save wrote"));
    assert!(malformed(stored(&[("a/data.pkl", PICKLE), ("b/data.pkl", PICKLE)])).contains("two pickles"));
}

#[test]
fn damaged_content_fails_its_checksum() {
    let mut file = archive(&[("a/data.pkl", PICKLE), ("a/data/0", &[7; 16])], CompressionMethod::Stored);
    let at = file.windows(16).position(|window| window == [7; 16]).unwrap();
    file[at] = 8;
    assert!(matches!(StateDict::from_bytes(&file), Err(FormatError::Entry(_))));
}

#[test]
fn duplicate_zip_entries_are_an_error() {
    let mut file = archive(
        &[("a/data.pkl", PICKLE), ("a/data/0", &[0; 16]), ("a/data/1", &[1; 16])],
        CompressionMethod::Stored,
    );
    while let Some(at) = file.windows(8).position(|window| window == b"a/data/1") {
        file[at + 7] = b'0';
    }
    assert!(malformed(StateDict::from_bytes(&file)).contains("the same name"));
}

#[test]
fn overlapping_zip_entries_are_an_error() {
    // The directory has a hundred names for one storage of 64 KiB, and there is a tensor for each.
    let big = vec![0; 1 << 16];
    let mut program = b"\x80\x02}".to_vec();
    for index in 0..100 {
        let key = format!("{index:02}");
        let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
        program.extend(text(&key));
        program.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        program
            .extend([text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(&key), text("cpu")].concat());
        program.extend(b"M\x00\x40tQK\x00K\x01\x85K\x01\x85\x89NtRs");
    }
    program.push(b'.');
    let file = archive(&[("a/data.pkl", &program), ("a/data/00", &big)], CompressionMethod::Stored);
    let shared = with_aliases(&file, b"a/data/00", 100);
    assert!(shared.len() < 1 << 18);
    let what = malformed(StateDict::from_bytes(&shared));
    assert!(what.contains("zip archive are larger than the file"), "{what}");
}

/// Adds entries to the directory, so that the last entry has `count` names whose last two digits increase.
fn with_aliases(file: &[u8], name: &[u8], count: u16) -> Vec<u8> {
    const DIRECTORY: &[u8] = b"PK\x01\x02";
    const END: &[u8] = b"PK\x05\x06";
    let find = |what: &[u8]| file.windows(what.len()).rposition(|window| window == what).unwrap();
    let (last, end) = (find(DIRECTORY), find(END));
    let start = file.windows(4).position(|window| window == DIRECTORY).unwrap();
    let entry = &file[last..end];
    let at = entry.windows(name.len()).position(|window| window == name).unwrap() + name.len() - 2;
    let mut shared = file[..end].to_vec();
    for index in 1..count {
        let mut alias = entry.to_vec();
        alias[at..at + 2].copy_from_slice(format!("{index:02}").as_bytes());
        shared.extend(alias);
    }
    let mut tail = file[end..].to_vec();
    let entries = (count + 1).to_le_bytes();
    tail[8..10].copy_from_slice(&entries);
    tail[10..12].copy_from_slice(&entries);
    let size = u32::try_from(shared.len() - start).unwrap();
    tail[12..16].copy_from_slice(&size.to_le_bytes());
    shared.extend(tail);
    shared
}
