//! Live sources that need no server, and connections that fail.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{TcpListener, TcpStream},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use lookout_ingest::Wanted;
use lookout_schema::{CameraStatus, Clock, DropCause, RetryReason, Size};
use lookout_stage::{ResizeMode, SourceEnd};
use lookout_tests::{
    isolation::lock_module,
    source::{RunningSource, Take, camera, deliver},
};

const PATIENCE: Duration = Duration::from_secs(600);
/// About a second on an idle machine; this is the bound for a slow one.
const SOON: Duration = Duration::from_secs(20);

fn start(lines: &str, take: Take) -> RunningSource {
    RunningSource::start(camera(lines).unwrap(), take).unwrap()
}

#[test]
fn a_slow_worker_receives_the_latest_frames_and_the_others_are_counted() {
    let _module = lock_module(module_path!());
    let source = start(
        "uri = \"test://ball?fps=100&width=64&height=64\"\nqueue = 2\nstall_timeout_ms = 200",
        Take::default(),
    );
    let first = source.frame(PATIENCE).unwrap();
    // The test holds the frame for longer than the stall timeout while the camera continues.
    while source.ledger.counts().received < 60 {
        thread::yield_now();
    }
    let next = source.frame(PATIENCE).unwrap();
    assert!(next.header.seq >= 50, "{}", next.header.seq);
    assert_eq!((next.header.session, next.header.clock), (first.header.session, Clock::Arrival));
    [first, next].into_iter().for_each(deliver);
    let (end, took, counts) = source.stop().unwrap();
    assert_eq!(end, SourceEnd::Stopped);
    assert!(took < SOON, "{took:?}");
    assert!(counts.dropped[&DropCause::QueueFull] >= 48);
}

#[test]
fn each_resize_mode_places_the_frame_as_its_transform_states() {
    let _module = lock_module(module_path!());
    let input = Size { width: 224, height: 224 };
    let fits = [ResizeMode::Letterbox, ResizeMode::CenterCrop { short_side: 256 }, ResizeMode::Stretch];
    for (fit, uri) in fits.into_iter().flat_map(|fit| [(fit, "640&height=360"), (fit, "101&height=333")]) {
        let source = start(
            &format!("uri = \"test://white?fps=30&width={uri}\""),
            Take { wanted: Wanted { input, fit, every: NonZeroU32::MIN, snapshots: None }, permits: 1 },
        );
        let frame = source.frame(PATIENCE).unwrap();
        let (placement, at) = (frame.header.placement, frame.header.source);
        assert_eq!(placement, fit.place(at, input));
        let inside = |x: u32, y: u32| {
            let sx = (x as f32 + 0.5 - placement.offset_x) / placement.scale_x;
            let sy = (y as f32 + 0.5 - placement.offset_y) / placement.scale_y;
            (0.0..at.width as f32).contains(&sx) && (0.0..at.height as f32).contains(&sy)
        };
        for (i, rgb) in frame.pixels.rgb().chunks_exact(3).enumerate() {
            let (x, y) = (i as u32 % input.width, i as u32 / input.width);
            let white = rgb.iter().all(|byte| *byte > 250);
            let black = rgb.iter().all(|byte| *byte < 5);
            assert!(if inside(x, y) { white } else { black }, "{fit:?} {uri} {x},{y}: {rgb:?}");
        }
        deliver(frame);
        source.stop().unwrap();
    }
}

#[test]
fn unknown_patterns_and_missing_devices_are_reported() {
    let _module = lock_module(module_path!());
    for (uri, reason) in
        [("test://nonsense", RetryReason::NotFound), ("v4l2:///dev/video-none", RetryReason::NotFound)]
    {
        let source = start(&format!("uri = \"{uri}\"\nretry_attempts = 1"), Take::default());
        let (end, _) = source.run_out(PATIENCE, |_| ()).unwrap();
        let SourceEnd::Failed { reason: got, detail } = end else { panic!("{end:?}") };
        assert_eq!(got, reason, "{detail}");
        assert!(detail.contains(uri), "{detail}");
    }
}

/// A TCP server in place of a camera, which passes each connection to `each`.
fn fake_camera(each: impl Fn(TcpStream) + Send + 'static) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("rtsp://127.0.0.1:{}/cam", listener.local_addr().unwrap().port());
    let done = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&done);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if until.load(Relaxed) {
                return;
            }
            each(stream);
        }
    });
    (uri, done)
}

#[test]
fn a_camera_that_accepts_connections_and_never_answers_times_out() {
    let _module = lock_module(module_path!());
    let kept = std::sync::Mutex::new(Vec::new());
    let (uri, _done) = fake_camera(move |stream| kept.lock().unwrap().push(stream));
    let source = start(
        &format!("uri = \"{uri}\"\nconnect_timeout_ms = 300\nretry_first_ms = 10\nretry_attempts = 2"),
        Take::default(),
    );
    let (end, counts) = source.run_out(PATIENCE, |_| ()).unwrap();
    assert!(matches!(end, SourceEnd::Failed { reason: RetryReason::Unreachable, .. }), "{end:?}");
    assert_eq!(counts.received, 0);
}

#[test]
fn a_camera_stops_promptly_while_it_connects() {
    let _module = lock_module(module_path!());
    let kept = std::sync::Mutex::new(Vec::new());
    let (uri, _done) = fake_camera(move |stream| kept.lock().unwrap().push(stream));
    let source = start(&format!("uri = \"{uri}\""), Take::default());
    source.report(CameraStatus::Connecting, PATIENCE).unwrap();
    let (end, took, _) = source.stop().unwrap();
    assert_eq!(end, SourceEnd::Stopped);
    assert!(took < SOON, "{took:?}");
}

#[test]
fn a_camera_stops_promptly_while_it_waits_to_connect() {
    let _module = lock_module(module_path!());
    let source = start(
        "uri = \"rtsp://127.0.0.1:1/cam\"\nretry_first_ms = 60000\nretry_max_ms = 60000",
        Take::default(),
    );
    source.report(CameraStatus::Retrying, PATIENCE).unwrap();
    let (end, took, _) = source.stop().unwrap();
    assert_eq!(end, SourceEnd::Stopped);
    assert!(took < SOON, "{took:?}");
}
