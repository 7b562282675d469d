//! Faults within a stream, and inputs other than regular files.

use std::{
    ffi::OsString, fs, io::Write as _, os::unix::ffi::OsStringExt, process::Command, sync::mpsc, thread,
    time::Duration,
};

use crate::common::{h264, image, read, read_with, settings, write};

#[test]
fn empty_nal_units_lose_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.h264");
    let (image, h264) = (image(100, 320, 240), h264(25, 0));
    let bytes = "video/x-h264,stream-format=byte-stream,alignment=au";
    write(&format!("{image} ! {h264} ! {bytes} ! filesink location={}", path.display()));
    let stream = fs::read(&path).unwrap();
    read(&path).ended_after(100);
    for empty in [&[0, 0, 1][..], &[0, 0, 0, 1]] {
        let (mut with_empty, mut units) = (Vec::new(), 0);
        for (at, byte) in stream.iter().enumerate() {
            if stream[at..].starts_with(&[0, 0, 0, 1]) {
                units += 1;
                if units % 5 == 1 {
                    with_empty.extend(empty);
                }
            }
            with_empty.push(*byte);
        }
        fs::write(&path, with_empty).unwrap();
        read(&path).ended_after(100);
    }
}

#[test]
fn a_damaged_av1_packet_loses_only_its_own_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mkv");
    let encode = "av1enc cpu-used=8 end-usage=cbr target-bitrate=500 lag-in-frames=0 keyframe-max-dist=10";
    write(&format!(
        "{} ! {encode} ! av1parse ! matroskamux ! filesink location={}",
        image(40, 160, 120),
        path.display()
    ));
    read(&path).ended_after(40);
    let mut bytes = fs::read(&path).unwrap();
    let from = bytes.len() * 4 / 10;
    bytes[from..from + 300].fill(0x55);
    fs::write(&path, bytes).unwrap();
    let seen = read(&path);
    assert_eq!(seen.end, lookout_stage::SourceEnd::Ended, "{seen:?}");
    assert!((25..=40).contains(&seen.frames), "{seen:?}");
    assert!(seen.span_ms > 1400, "{seen:?}");
}

#[test]
fn a_named_pipe_is_read_to_its_end_although_its_writer_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let (clip, pipe) = (folder.path().join("clip.ts"), folder.path().join("pipe.ts"));
    let (image, h264) = (image(100, 320, 240), h264(25, 0));
    write(&format!("{image} ! {h264} ! mpegtsmux ! filesink location={}", clip.display()));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (bytes, target) = (fs::read(&clip).unwrap(), pipe.clone());
    let (first_frame, started) = mpsc::channel();
    let writer = thread::spawn(move || {
        let pause = Duration::from_secs(1);
        thread::sleep(pause);
        let mut pipe = fs::OpenOptions::new().write(true).open(target).unwrap();
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        pipe.write_all(head).unwrap();
        started.recv().unwrap();
        thread::sleep(pause);
        pipe.write_all(tail).unwrap();
    });
    let settings = settings(&pipe.display().to_string(), "stall_timeout_ms = 100\nconnect_timeout_ms = 100");
    read_with(settings, |_| first_frame.send(()).unwrap_or_default()).ended_after(100);
    writer.join().unwrap();
}

#[test]
fn a_file_name_may_contain_arbitrary_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsString::from_vec(b"bad\xff 100%.mkv".to_vec()));
    let plain = folder.path().join("clip.mkv");
    write(&format!(
        "{} ! {} ! matroskamux ! filesink location={}",
        image(25, 320, 240),
        h264(25, 0),
        plain.display()
    ));
    fs::rename(&plain, &path).unwrap();
    let uri = format!("FILE://{}/bad%FF%20100%25.mkv", folder.path().display());
    read_with(settings(&uri, ""), |_| ()).ended_after(25);
}
