//! `lookout run` on files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, fs, time::Duration};

use lookout_tests::{
    isolation::lock_module,
    program::{DETECTOR, Ended, Running, embedded},
    records::Records,
    video::{CLIP_FRAMES, clip, write_mp4},
};

const PATIENCE: Duration = Duration::from_secs(600);

fn run(lines: &str) -> Ended {
    let ended = Running::start(lines).unwrap().finish(PATIENCE).unwrap();
    ended.summary.check().unwrap();
    ended
}

#[test]
fn all_frames_of_the_clip_are_delivered_and_the_run_ends() {
    let _module = lock_module(module_path!());
    let ended = run(&format!("[[camera]]\nid = \"clip\"\nuri = {:?}", clip()));
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let camera = &ended.summary.cameras["clip"];
    assert_eq!((camera.received, camera.published), (CLIP_FRAMES, CLIP_FRAMES));
    assert_eq!((camera.delivered, camera.status.as_str()), (CLIP_FRAMES, "ended"));
    assert!(camera.dropped.is_empty() && camera.expired.is_empty(), "{camera:?}");
    let summary = &ended.summary;
    assert!((summary.fps - CLIP_FRAMES as f64 / summary.seconds).abs() < 1.0, "{summary:?}");
    let latency = &summary.latency_ms;
    assert!(latency.p50 > Some(0.0) && latency.p50 <= latency.p95 && latency.p95 <= latency.p99);
}

#[test]
fn corrupt_and_missing_files_do_not_affect_the_other_cameras() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.mp4");
    write_mp4(&whole, 50, true).unwrap();
    let corrupt = folder.path().join("corrupt.mp4");
    fs::write(&corrupt, "no video at all ".repeat(1000)).unwrap();
    let mut lines = String::new();
    for i in 0..20 {
        let path = match i {
            7 => corrupt.clone(),
            13 => folder.path().join("missing.mp4"),
            _ => whole.clone(),
        };
        let _ = write!(lines, "[[camera]]\nid = \"cam-{i}\"\nuri = {path:?}\n");
    }
    let ended = run(&lines);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    for (id, camera) in &ended.summary.cameras {
        let bad = id == "cam-7" || id == "cam-13";
        assert_eq!(camera.status, if bad { "failed" } else { "ended" }, "{id}");
        assert_eq!(camera.delivered, if bad { 0 } else { 50 }, "{id}: {camera:?}");
    }
    let named: Vec<&str> = ended.log.lines().filter(|line| line.starts_with("lookout: camera ")).collect();
    assert_eq!(named.len(), 2, "{}", ended.log);
    assert!(named[0].contains("cam-13: not_found") && named[0].contains("missing.mp4"), "{named:?}");
    assert!(named[1].contains("cam-7: undecodable") && named[1].contains("corrupt.mp4"), "{named:?}");
}

#[test]
fn a_truncated_file_delivers_its_frames_and_fails_the_run() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.avi");
    let bytes = fs::read(clip()).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let empty = folder.path().join("empty.mp4");
    fs::write(&empty, "").unwrap();
    let ended = run(&format!(
        "[[camera]]\nid = \"half\"\nuri = {path:?}\n[[camera]]\nid = \"empty\"\nuri = {empty:?}"
    ));
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let half = &ended.summary.cameras["half"];
    assert_eq!(half.status, "failed");
    assert!(half.delivered > 300 && half.delivered == half.received, "{half:?}");
    assert!(ended.log.contains("the file is cut off") && ended.log.contains("the file is empty"));
}

#[tokio::test]
async fn detections_are_filtered_by_region_and_classified() {
    let _module = lock_module(module_path!());
    let clip = clip();
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.mp4");
    write_mp4(&small, 20, true).unwrap();
    let lines = format!(
        "drain_s = 600\n[classify]\narch = \"resnet18\"\nweights = \"random:3\"\ninput = \"64x64\"\n\
         [infer]\ninterval = 5\n[[camera]]\nid = \"small\"\nuri = {small:?}\n[[camera]]\nid = \"clip\"\nuri = {clip:?}\n\
         loop = true\nregions = [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]"
    );
    let mut running = Running::start_with(DETECTOR, &lines).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let (mut seen, mut classified) = (0, 0);
    while seen < 50 {
        // The invariants of the boxes are checked for each record that is read.
        let frame = records.frame(PATIENCE).await.unwrap();
        assert_eq!(frame.seq % 5, 0);
        assert_eq!(frame.classifier.as_ref().map(|second| second.arch.as_str()), Some("resnet18"));
        for found in &frame.detections {
            classified += found.classes.len();
            let left = (found.bbox.x1 + found.bbox.x2) / 2.0 / frame.source.width as f32;
            assert!(frame.camera.as_str() == "small" || left <= 0.5, "{found:?}");
        }
        seen += usize::from(frame.camera.as_str() == "clip" && !frame.detections.is_empty());
    }
    assert!(classified > 0, "none of {seen} frames' detections was classified");
    running.signal("INT").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.summary.check().unwrap();
    assert_eq!(ended.summary.cameras["small"].dropped["skipped"], 16);
}
