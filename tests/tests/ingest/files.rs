//! Video files as cameras.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use lookout_schema::{CameraStatus, Clock, DropCause, LedgerCounts, RetryReason, Size};
use lookout_stage::SourceEnd;
use lookout_tests::{
    isolation::lock_module,
    source::{RunningSource, Take, camera, deliver},
    video::{CLIP_FRAMES, clip, write_mp4},
};

const PATIENCE: Duration = Duration::from_secs(600);
/// About a second on an idle machine; this is the bound for a slow one.
const SOON: Duration = Duration::from_secs(20);

fn file_camera(path: &Path, more: &str) -> lookout_config::CameraSettings {
    camera(&format!("uri = {:?}\n{more}", path.display().to_string())).unwrap()
}

fn run(path: &Path, more: &str) -> (SourceEnd, LedgerCounts) {
    let source = RunningSource::start(file_camera(path, more), Take::default()).unwrap();
    source.run_out(PATIENCE, |_| ()).unwrap()
}

fn failure(path: &Path) -> (RetryReason, String, LedgerCounts) {
    match run(path, "") {
        (SourceEnd::Failed { reason, detail }, counts) => {
            assert!(detail.contains(&path.display().to_string()), "{detail}");
            (reason, detail, counts)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clip_is_read_completely_and_in_order() {
    let _module = lock_module(module_path!());
    let source = RunningSource::start(file_camera(&clip(), ""), Take::default()).unwrap();
    let mut headers = Vec::new();
    let (end, counts) = source.run_out(PATIENCE, |frame| headers.push(frame.header.clone())).unwrap();
    assert_eq!(end, SourceEnd::Ended);
    assert_eq!((counts.received, counts.delivered), (CLIP_FRAMES, CLIP_FRAMES));
    assert!(counts.dropped.is_empty());
    assert!(headers.iter().enumerate().all(|(i, header)| header.seq == i as u64));
    assert!(headers.iter().all(|h| h.session == headers[0].session && !h.live && h.clock == Clock::File));
    assert_eq!(headers[0].source, Size { width: 768, height: 576 });
    // 10 frames per second, dated by stream time, regardless of the speed of reading.
    let ms = headers[CLIP_FRAMES as usize - 1].captured_at.ms_since(headers[0].captured_at);
    assert!((79_000..80_000).contains(&ms), "{ms}");
}

#[test]
fn a_missing_file_fails_at_once() {
    let _module = lock_module(module_path!());
    let (reason, detail, counts) = failure(Path::new("/nowhere/clip.mp4"));
    assert_eq!((reason, counts.received), (RetryReason::NotFound, 0));
    assert!(detail.contains("no such file"));
}

#[test]
fn empty_files_and_text_files_fail_at_once() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in
        [("", "empty"), ("this is not a video, whatever its name says\n", "cannot be decoded")]
    {
        let path = folder.path().join("clip.mp4");
        fs::write(&path, text.repeat(100)).unwrap();
        let (reason, detail, counts) = failure(&path);
        assert_eq!((reason, counts.received), (RetryReason::Undecodable, 0));
        assert!(detail.contains(expected), "{detail}");
    }
}

#[test]
fn a_truncated_clip_delivers_its_frames_and_fails() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(clip()).unwrap();
    let path = folder.path().join("half.avi");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (reason, detail, counts) = failure(&path);
    assert_eq!(reason, RetryReason::Undecodable);
    assert!(
        detail.contains("cut off") && detail.contains(&format!("{} frames", counts.received)),
        "{detail}"
    );
    assert!((300..500).contains(&counts.received), "{}", counts.received);
    assert_eq!(counts.delivered, counts.received);
}

/// Writes the clip with `length` bytes in its middle overwritten.
fn damaged_clip(folder: &Path, length: usize) -> PathBuf {
    let mut bytes = fs::read(clip()).unwrap();
    let from = (bytes.len() - length) / 2;
    for (i, byte) in bytes[from..from + length].iter_mut().enumerate() {
        *byte = (i * 151 % 251) as u8;
    }
    let path = folder.join("damaged.avi");
    fs::write(&path, &bytes).unwrap();
    path
}

#[test]
fn damage_in_the_middle_loses_only_the_damaged_frames() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let (end, counts) = run(&damaged_clip(folder.path(), 40_000), "");
    assert_eq!(end, SourceEnd::Ended);
    assert!((700..=CLIP_FRAMES).contains(&counts.received), "{}", counts.received);
    assert_eq!(counts.delivered, counts.received);
}

#[test]
fn a_mostly_damaged_clip_delivers_its_good_frames_and_fails() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let length = fs::metadata(clip()).unwrap().len() as usize;
    let (reason, detail, counts) = failure(&damaged_clip(folder.path(), length - 400_000));
    assert_eq!(reason, RetryReason::Undecodable);
    assert!(detail.contains("damaged"), "{detail}");
    assert!(counts.delivered > 0 && counts.delivered == counts.received);
}

#[test]
fn an_mp4_with_sound_is_read_whole_and_truncated() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    for index_first in [true, false] {
        write_mp4(&path, 100, index_first).unwrap();
        let (end, counts) = run(&path, "");
        assert_eq!((end, counts.delivered), (SourceEnd::Ended, 100));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (reason, detail, counts) = failure(&path);
        assert_eq!(reason, RetryReason::Undecodable);
        assert!(detail.contains("cut off"), "{detail}");
        // An MP4 without its index cannot be read.
        assert_eq!(counts.received > 20, index_first, "{counts:?}");
        assert_eq!(counts.delivered, counts.received);
    }
}

#[test]
fn a_rate_limit_skips_frames_without_changing_their_numbers() {
    let _module = lock_module(module_path!());
    let source = RunningSource::start(file_camera(&clip(), "fps = 4"), Take::default()).unwrap();
    let mut kept = Vec::new();
    let (end, counts) =
        source.run_out(PATIENCE, |frame| kept.push((frame.header.seq, frame.header.pts_ns))).unwrap();
    assert_eq!(end, SourceEnd::Ended);
    assert_eq!(counts.received, CLIP_FRAMES);
    assert_eq!(counts.dropped[&DropCause::FpsLimit], CLIP_FRAMES - counts.delivered);
    // 79.5 s at 4 frames/s.
    assert!((317..=320).contains(&counts.delivered), "{}", counts.delivered);
    assert!(kept.iter().all(|(seq, pts)| pts.unwrap() / 100_000_000 == *seq));
}

#[test]
fn one_frame_per_interval_is_kept_and_the_others_are_counted() {
    let _module = lock_module(module_path!());
    let mut take = Take::default();
    take.wanted.every = NonZeroU32::new(5).unwrap();
    let source = RunningSource::start(file_camera(&clip(), ""), take).unwrap();
    let mut kept = Vec::new();
    let (end, counts) = source.run_out(PATIENCE, |frame| kept.push(frame.header.seq)).unwrap();
    assert_eq!((end, counts.received), (SourceEnd::Ended, CLIP_FRAMES));
    assert!(kept.iter().copied().eq((0..CLIP_FRAMES).step_by(5)));
    assert_eq!(counts.dropped[&DropCause::Skipped], CLIP_FRAMES - counts.delivered);
}

#[test]
fn a_looped_clip_restarts_in_a_new_session() {
    let _module = lock_module(module_path!());
    let source = RunningSource::start(file_camera(&clip(), "loop = true"), Take::default()).unwrap();
    let first = source.frame(PATIENCE).unwrap();
    let (session, start) = (first.header.session, first.header.captured_at);
    deliver(first);
    let second = source.frame_where(PATIENCE, |frame| frame.header.session != session).unwrap();
    assert_eq!(second.header.seq, 0);
    assert!(second.header.captured_at.ms_since(start) > 79_000);
    assert_eq!(source.ledger.counts().dropped.len(), 0);
    deliver(second);
    assert_eq!(source.stop().unwrap().0, SourceEnd::Stopped);
}

#[test]
fn a_file_without_permits_waits_and_does_not_stall() {
    let _module = lock_module(module_path!());
    let settings = file_camera(&clip(), "stall_timeout_ms = 100\nqueue = 2");
    let source = RunningSource::start(settings, Take { permits: 3, ..Take::default() }).unwrap();
    let mut held: Vec<_> = (0..3).map(|_| source.frame(PATIENCE).unwrap()).collect();
    // The test holds all permits for three times the stall timeout.
    assert!(source.next(Duration::from_millis(300)).is_err());
    held.drain(..).for_each(deliver);
    let (end, counts) = source.run_out(PATIENCE, |_| ()).unwrap();
    assert_eq!(end, SourceEnd::Ended);
    assert_eq!((counts.received, counts.delivered), (CLIP_FRAMES, CLIP_FRAMES));
}

#[test]
fn a_waiting_file_stops_promptly_with_a_consistent_ledger() {
    let _module = lock_module(module_path!());
    let source =
        RunningSource::start(file_camera(&clip(), ""), Take { permits: 2, ..Take::default() }).unwrap();
    source.report(CameraStatus::Running, PATIENCE).unwrap();
    let held = source.frame(PATIENCE).unwrap();
    let (end, took, counts) = source.stop().unwrap();
    assert_eq!(end, SourceEnd::Stopped);
    assert!(took < SOON, "{took:?}");
    assert_eq!(counts.processing, 1);
    deliver(held);
}
