//! Which frames of a file are delivered, and which are reported as missing, as its container specifies.

use std::{fs, path::Path};

use crate::{
    common::{Seen, h264, image, read, write},
    mp4,
};

fn write_mp4(path: &Path, frames: usize, gop: u32, b_frames: u32) -> Vec<u8> {
    let (image, h264) = (image(frames, 320, 240), h264(gop, b_frames));
    write(&format!("{image} ! {h264} ! mp4mux ! filesink location={}", path.display()));
    fs::read(path).unwrap()
}

fn read_bytes(path: &Path, bytes: &[u8]) -> Seen {
    fs::write(path, bytes).unwrap();
    read(path)
}

#[test]
fn an_edit_list_selects_the_displayed_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trimmed.mp4");
    // A clip of 12 s with a key frame every second, and with one every 10 s.
    for gop in [25, 250] {
        let whole = write_mp4(&path, 300, gop, 0);
        for (edits, frames, span_ms) in [
            // Most of the clip is hidden.
            (&[(1520, 8000)][..], 38, 1480),
            (&[(5000, 2000)], 125, 4960),
            (&[(400, 10_120)], 10, 360),
            (&[(2000, -1), (3000, 0)], 75, 2960),
            (&[(2000, 1000), (3000, 6000)], 125, 4960),
            (&[(1000, 9000), (1000, 2000)], 50, 1960),
        ] {
            let seen = read_bytes(&path, &mp4::set_edits(&whole, edits));
            seen.ended_after(frames);
            assert_eq!(seen.span_ms, span_ms, "{edits:?}");
        }
    }
}

#[test]
fn all_reordered_frames_are_delivered_without_an_edit_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reordered.mp4");
    let whole = write_mp4(&path, 100, 50, 3);
    read(&path).ended_after(100);
    read_bytes(&path, &mp4::set_edits(&whole, &[])).ended_after(100);
}

#[test]
fn the_sample_table_is_used_if_a_track_header_states_a_shorter_duration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.mp4");
    let whole = mp4::set_edits(&write_mp4(&path, 100, 25, 0), &[]);
    let short = mp4::change_moov(&whole, |moov| {
        for part in moov {
            match &part.name {
                b"mvhd" => part.set_u32(24, part.u32(24) / 2),
                b"trak" => part.change(|trak| {
                    for part in trak.iter_mut().filter(|part| part.name == *b"mdia") {
                        part.change(|mdia| {
                            for part in mdia.iter_mut().filter(|part| part.name == *b"mdhd") {
                                part.set_u32(24, part.u32(24) / 2);
                            }
                        });
                    }
                }),
                _ => {}
            }
        }
    });
    read_bytes(&path, &short).ended_after(100);
}

#[test]
fn trailing_data_after_the_last_box_is_not_a_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trailer.mp4");
    let whole = write_mp4(&path, 50, 25, 0);
    let text = b"GPSDATA 47.1,8.5 2026-11-27 dashcam model X1\r\n".repeat(20);
    let zeros = vec![0; 70_000];
    let far = [&u32::MAX.to_be_bytes()[..], b"free"].concat();
    for trailer in [&b"\n"[..], &[0; 4], b"\0\0\0\x01uuid", &text, &zeros, &far] {
        read_bytes(&path, &[&whole, trailer].concat()).ended_after(50);
    }
}

#[test]
fn an_mdat_box_longer_than_its_frames_is_not_a_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fast.mp4");
    let (image, h264) = (image(50, 320, 240), h264(25, 0));
    write(&format!("{image} ! {h264} ! mp4mux faststart=true ! filesink location={}", path.display()));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).rposition(|name| name == b"mdat").unwrap() - 4;
    let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    bytes[at..at + 4].copy_from_slice(&(size + 5000).to_be_bytes());
    read_bytes(&path, &bytes).ended_after(50);
    // One byte of the last frame is missing.
    let seen = read_bytes(&path, &bytes[..bytes.len() - 1]);
    assert!(seen.detail().contains("cut off: 1 bytes are missing at its end, with 1 frames"), "{seen:?}");
    assert!((49..=50).contains(&seen.frames));
}

#[test]
fn a_fragmented_file_is_truncated_only_if_its_last_fragment_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fragmented.mp4");
    let (image, h264) = (image(100, 320, 240), h264(25, 0));
    write(&format!(
        "{image} ! {h264} ! mp4mux fragment-duration=1000 ! filesink location={}",
        path.display()
    ));
    let whole = fs::read(&path).unwrap();
    let seen = read(&path);
    seen.ended_after(100);
    read_bytes(&path, &[&whole[..], b"\n"].concat()).ended_after(100);
    let seen = read_bytes(&path, &whole[..whole.len() / 2]);
    assert!(seen.detail().contains("cut off"), "{seen:?}");
    assert!((25..75).contains(&seen.frames), "{seen:?}");
}

#[test]
fn an_mp4_without_its_index_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crash.mp4");
    let whole = write_mp4(&path, 50, 25, 0);
    let parts = mp4::parts(&whole);
    let before: usize = parts[..parts.len() - 1].iter().map(|part| part.bytes.len()).sum();
    let seen = read_bytes(&path, &whole[..before]);
    assert!(seen.detail().contains("has no index"), "{seen:?}");
    let seen = read_bytes(&path, &whole[..before / 2]);
    assert!(seen.detail().contains("cut off"), "{seen:?}");
}

#[test]
fn an_avi_whose_size_includes_its_header_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.avi");
    write(&format!("{} ! jpegenc ! avimux ! filesink location={}", image(30, 320, 240), path.display()));
    let whole = fs::read(&path).unwrap();
    let mut counted = whole.clone();
    counted[4..8].copy_from_slice(&u32::try_from(whole.len()).unwrap().to_le_bytes());
    read_bytes(&path, &counted).ended_after(30);
    let seen = read_bytes(&path, &whole[..whole.len() / 2]);
    assert!(seen.detail().contains("cut off"), "{seen:?}");
    assert!((10..20).contains(&seen.frames), "{seen:?}");
}

#[test]
fn a_matroska_file_with_an_overstated_segment_size_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mkv");
    let (image, h264) = (image(100, 320, 240), h264(25, 0));
    write(&format!("{image} ! {h264} ! matroskamux ! filesink location={}", path.display()));
    let whole = fs::read(&path).unwrap();
    let at = whole.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]).unwrap() + 4;
    let size = u64::from_be_bytes(whole[at..at + 8].try_into().unwrap());
    let mut longer = whole.clone();
    longer[at..at + 8].copy_from_slice(&(size + 10).to_be_bytes());
    read_bytes(&path, &longer).ended_after(100);
    for cut in [whole.len() * 6 / 10, whole.len() * 3 / 10] {
        let seen = read_bytes(&path, &whole[..cut]);
        assert!(seen.detail().contains("cut off"), "{seen:?}");
        assert!((20..70).contains(&seen.frames), "{seen:?}");
    }
}

#[test]
fn one_damaged_frame_of_six_is_not_reported_as_mostly_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("few.avi");
    write(&format!("{} ! jpegenc ! avimux ! filesink location={}", image(6, 320, 240), path.display()));
    let mut bytes = fs::read(&path).unwrap();
    let starts: Vec<_> =
        (0..bytes.len() - 3).filter(|at| bytes[*at..*at + 3] == [0xff, 0xd8, 0xff]).collect();
    assert_eq!(starts.len(), 6);
    bytes[starts[3]..starts[3] + 700].fill(0);
    read_bytes(&path, &bytes).ended_after(5);
}

#[test]
fn one_of_several_video_tracks_is_decoded_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, mux) in [("tracks.mp4", "mp4mux"), ("tracks.mkv", "matroskamux")] {
        let path = folder.path().join(name);
        let tracks: String = [(320, 240), (640, 360), (160, 120)]
            .iter()
            .map(|(width, height)| {
                format!(
                    " {} ! {} ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! mux.",
                    image(50, *width, *height),
                    h264(25, 0)
                )
            })
            .collect();
        write(&format!("{mux} name=mux ! filesink location={}{tracks}", path.display()));
        let seen = read(&path);
        seen.ended_after(50);
        assert_eq!(seen.size.map(|size| (size.width, size.height)), Some((640, 360)), "{name}");
    }
}

#[test]
fn a_cover_image_is_not_mistaken_for_the_video() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cover.mkv");
    let cover = "videotestsrc num-buffers=1 ! video/x-raw,width=800,height=600,framerate=25/1 ! jpegenc ! queue ! mux.";
    let video = format!("{} ! {} ! queue ! mux.", image(50, 320, 240), h264(25, 0));
    write(&format!("matroskamux name=mux ! filesink location={} {cover} {video}", path.display()));
    let seen = read(&path);
    seen.ended_after(50);
    assert_eq!(seen.size.map(|size| size.width), Some(320));
    let sound = "audiotestsrc num-buffers=100 ! avenc_aac ! queue ! mux.";
    write(&format!("matroskamux name=mux ! filesink location={} {cover} {sound}", path.display()));
    let seen = read(&path);
    assert!(seen.frames == 0 && seen.detail().contains("no video"), "{seen:?}");
}

#[test]
fn one_image_is_a_video_of_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.jpg");
    write(&format!("{} ! jpegenc ! filesink location={}", image(1, 320, 240), path.display()));
    read(&path).ended_after(1);
}
