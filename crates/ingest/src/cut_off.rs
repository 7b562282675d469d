//! Whether a file is shorter than its own headers say.
//!
//! Demuxers read a file that was cut off as far as it goes and then say that it has ended, as if that had
//! been all. So the lengths that the container states are held against the file's.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes that `path` lacks by what its container says: RIFF (AVI), ISO base media (MP4, MOV) and Matroska
/// (MKV, WebM). None for a whole file, and for one of another kind.
pub(crate) fn missing_bytes(path: &Path) -> io::Result<Option<u64>> {
    // A pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok(stated_length(&mut file, length)?.filter(|stated| *stated > length).map(|stated| stated - length))
}

/// The length that the headers state, as far as they can be followed in `length` bytes.
fn stated_length(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    let mut head = [0; 12];
    if read_at(file, 0, &mut head)? < head.len() {
        return Ok(None);
    }
    match &head {
        [b'R', b'I', b'F', b'F', a, b, c, d, ..] => riff(file, length, u32::from_le_bytes([*a, *b, *c, *d])),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => boxes(file, length),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(file, length),
        _ => Ok(None),
    }
}

/// RIFF chunks one after the other: AVI files over 1 GiB have several.
fn riff(file: &mut (impl Read + Seek), length: u64, first: u32) -> io::Result<Option<u64>> {
    let chunk_end = |at: u64, size: u32| at + 8 + u64::from(size) + u64::from(size % 2);
    let mut end = chunk_end(0, first);
    let mut head = [0; 8];
    while end < length && read_at(file, end, &mut head)? == head.len() && head.starts_with(b"RIFF") {
        end = chunk_end(end, u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    }
    // A size of 0 or of all ones was never filled in: the file was being written, and is not cut off so
    // far as can be told. The last padding byte is often left out.
    Ok((first != 0 && first != u32::MAX).then_some(end.max(1) - u64::from(first % 2)))
}

/// The boxes at the top of an ISO base media file (ISO/IEC 14496-12, section 4.2).
fn boxes(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    let mut at = 0u64;
    while at < length {
        let mut head = [0; 16];
        let got = read_at(file, at, &mut head)?;
        let [a, b, c, d, _, _, _, _, large @ ..] = head;
        let size = match u32::from_be_bytes([a, b, c, d]) {
            _ if got < 8 => return Ok(Some(at + 8)),
            // To the end of the file.
            0 => return Ok(None),
            1 if got == 16 => u64::from_be_bytes(large),
            1 => return Ok(Some(at + 16)),
            size => u64::from(size),
        };
        if size < 8 {
            return Ok(None);
        }
        at = at.saturating_add(size);
    }
    Ok(Some(at))
}

/// The EBML header and the segment after it (RFC 8794; RFC 9559, section 4.5).
fn matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    let mut at = 4;
    let Some((header, size_len)) = ebml_size(file, at)? else { return Ok(None) };
    at = (at + size_len).saturating_add(header);
    let mut id = [0; 4];
    if at >= length || read_at(file, at, &mut id)? < 4 || id != [0x18, 0x53, 0x80, 0x67] {
        return Ok(None);
    }
    let Some((segment, size_len)) = ebml_size(file, at + 4)? else { return Ok(None) };
    Ok(Some((at + 4 + size_len).saturating_add(segment)))
}

/// An EBML size and the bytes it takes; none where the size is left open.
fn ebml_size(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<(u64, u64)>> {
    let mut bytes = [0; 8];
    let got = read_at(file, at, &mut bytes)?;
    let width = bytes[0].leading_zeros() as usize + 1;
    if width > 8 || got < width {
        return Ok(None);
    }
    let mask = (1u64 << (7 * width)) - 1;
    let value = u64::from_be_bytes(bytes) >> (64 - 8 * width) & mask;
    Ok((value != mask).then_some((value, width as u64)))
}

/// Fills `buffer` from `at` on as far as the file goes.
fn read_at(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..])? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn stated(bytes: &[u8]) -> Option<u64> {
        stated_length(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    fn mp4() -> Vec<u8> {
        let mut bytes = [&16u32.to_be_bytes()[..], b"ftypisom", &[0; 4]].concat();
        bytes.extend([&1u32.to_be_bytes()[..], b"mdat", &100u64.to_be_bytes(), &[7; 84]].concat());
        bytes
    }

    fn avi() -> Vec<u8> {
        let chunk =
            |size: u32| [b"RIFF", &size.to_le_bytes()[..], b"AVI ", &vec![1; size as usize - 4]].concat();
        [chunk(40), chunk(60)].concat()
    }

    fn mkv() -> Vec<u8> {
        [&[0x1a, 0x45, 0xdf, 0xa3, 0x84, 0, 0, 0, 0, 0x18, 0x53, 0x80, 0x67, 0x40, 0x64][..], &[9; 100]]
            .concat()
    }

    #[test]
    fn whole_files_state_their_own_length() {
        for whole in [mp4(), avi(), mkv()] {
            assert_eq!(stated(&whole), Some(whole.len() as u64));
        }
    }

    #[test]
    fn cut_files_state_more_than_they_have() {
        for whole in [mp4(), avi(), mkv()] {
            for cut in [1, whole.len() / 3, whole.len() / 2 - 10] {
                let part = &whole[..whole.len() - cut];
                assert!(stated(part).is_none_or(|stated| stated > part.len() as u64), "{cut}");
            }
            assert_eq!(stated(&whole[..whole.len() - 1]), Some(whole.len() as u64));
        }
    }

    #[test]
    fn an_open_length_is_no_length() {
        let mut live = mkv();
        live[13..15].copy_from_slice(&[0x7f, 0xff]);
        assert_eq!(stated(&live), None);
        let mut recording = avi();
        recording[4..8].fill(0);
        assert_eq!(stated(&recording), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            kind in 0usize..3, tail in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let head = [&b"RIFF"[..], b"\0\0\0\x10ftyp", &[0x1a, 0x45, 0xdf, 0xa3]][kind];
            let _ = stated(&[head, &tail].concat());
        }
    }
}
