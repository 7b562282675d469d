//! Files whose frames have no timestamps or no key frame, or whose packets were lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, time::Duration};

use lookout_schema::{DropCause, LedgerCounts, RetryReason};
use lookout_stage::{FrameHeader, SourceEnd};
use lookout_tests::{
    isolation::lock_module,
    source::{RunningSource, Take, camera},
    video::{nal_type, nal_units, write_h264, write_mjpeg, write_ts},
};

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);

fn run(path: &Path, more: &str) -> (SourceEnd, LedgerCounts, Vec<FrameHeader>) {
    let settings = camera(&format!("uri = {:?}\n{more}", path.display().to_string())).unwrap();
    let source = RunningSource::start(settings, Take::default()).unwrap();
    let mut headers = Vec::new();
    let (end, counts) = source.run_out(PATIENCE, |frame| headers.push(frame.header.clone())).unwrap();
    (end, counts, headers)
}

/// Returns the milliseconds from the first frame to each frame.
fn times_ms(headers: &[FrameHeader]) -> Vec<i64> {
    headers.iter().map(|header| header.captured_at.ms_since(headers[0].captured_at)).collect()
}

#[test]
fn frames_without_timestamps_are_dated_by_the_configured_frame_rate() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.mjpeg");
    write_mjpeg(&path, 30).unwrap();
    for (more, step_ms) in [("", 40), ("file_fps = 10", 100)] {
        let (end, counts, headers) = run(&path, more);
        assert_eq!((end, counts.delivered), (SourceEnd::Ended, 30));
        assert_eq!(times_ms(&headers), (0..30).map(|frame| frame * step_ms).collect::<Vec<_>>());
    }
}

#[test]
fn the_rate_limit_of_a_file_without_timestamps_uses_its_stream_time() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.mjpeg");
    write_mjpeg(&path, 50).unwrap();
    let (end, counts, headers) = run(&path, "file_fps = 10\nfps = 5");
    assert_eq!((end, counts.received), (SourceEnd::Ended, 50));
    assert_eq!(times_ms(&headers), (0..25).map(|frame| frame * 200).collect::<Vec<_>>());
}

#[test]
fn a_stream_without_a_key_frame_fails_without_publishing() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.h264");
    write_h264(&path, 50, 1_000).unwrap();
    let whole = fs::read(&path).unwrap();
    let units = nal_units(&whole).into_iter().filter(|unit| nal_type(unit) != 5);
    fs::write(&path, units.collect::<Vec<_>>().concat()).unwrap();
    let (end, counts, headers) = run(&path, "");
    let SourceEnd::Failed { reason, detail } = end else { panic!("{end:?}") };
    assert_eq!(reason, RetryReason::Undecodable);
    assert!(detail.contains("no key frame") && detail.contains("49 frames"), "{detail}");
    assert_eq!((counts.received, counts.published), (49, 0));
    assert_eq!(counts.dropped[&DropCause::NoKeyFrame], 49);
    assert!(headers.is_empty());
}

#[test]
fn a_stream_that_starts_between_key_frames_is_published_from_the_next() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.h264");
    write_h264(&path, 100, 40).unwrap();
    let whole = fs::read(&path).unwrap();
    let units = nal_units(&whole);
    // The parameter sets, and then everything from the 11th frame on.
    let first = units.iter().position(|unit| nal_type(unit) == 5).unwrap();
    let (head, pictures) = units.split_at(first);
    let cut =
        pictures.iter().enumerate().filter(|(_, unit)| matches!(nal_type(unit), 1 | 5)).nth(10).unwrap().0;
    fs::write(&path, [head.concat(), pictures[cut..].concat()].concat()).unwrap();
    let (end, counts, headers) = run(&path, "");
    assert_eq!((end, counts.received, counts.published), (SourceEnd::Ended, 90, 60));
    assert_eq!(counts.dropped[&DropCause::NoKeyFrame], 30);
    assert_eq!(headers[0].seq, 30);
}

#[test]
fn frames_with_lost_transport_stream_packets_are_kept() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.ts");
    write_ts(&path, 200).unwrap();
    let whole = fs::read(&path).unwrap();
    let packets = whole.chunks_exact(188);
    assert!(packets.len() > 1_000, "{} packets", packets.len());
    // Every 33rd packet is lost, except for the tables at the start.
    let kept = packets.enumerate().filter(|(i, _)| *i < 20 || i % 33 != 0).map(|(_, packet)| packet);
    fs::write(&path, kept.collect::<Vec<_>>().concat()).unwrap();
    let (end, counts, _) = run(&path, "");
    assert_eq!(end, SourceEnd::Ended);
    assert!(counts.published >= 180, "{counts:?}");
}
