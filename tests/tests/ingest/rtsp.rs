//! RTSP cameras with the failures of real ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lookout_config::CameraSettings;
use lookout_schema::{CameraStatus, Clock, RetryReason, Size, Timestamp};
use lookout_stage::{Frame, SourceEnd};
use lookout_tests::{
    isolation::lock_module,
    rtsp::{RtspServer, RtspSettings},
    source::{RunningSource, Take, camera, deliver},
};

const PATIENCE: Duration = Duration::from_secs(600);
/// About a second on an idle machine; this is the bound for a slow one.
const SOON: Duration = Duration::from_secs(20);

fn settings(uri: &str, more: &str) -> CameraSettings {
    camera(&format!("uri = {uri:?}\nretry_first_ms = 100\nretry_max_ms = 500\n{more}")).unwrap()
}

fn watch(server: &RtspServer, more: &str) -> RunningSource {
    RunningSource::start(settings(&server.uri(), more), Take::default()).unwrap()
}

fn stop(source: RunningSource) {
    let (end, took, _) = source.stop().unwrap();
    assert_eq!(end, SourceEnd::Stopped);
    assert!(took < SOON, "{took:?}");
}

fn size(frame: &Frame) -> (u32, u32) {
    (frame.header.source.width, frame.header.source.height)
}

#[test]
fn reconnects_in_a_new_session_after_an_outage() {
    let _module = lock_module(module_path!());
    let mut server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "");
    let mut session = None;
    for _ in 0..3 {
        let frame = source.frame_where(PATIENCE, |frame| Some(frame.header.session) != session).unwrap();
        assert!(frame.header.live);
        session = Some(frame.header.session);
        deliver(frame);
        server.stop().unwrap();
        let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
        assert_eq!(report.session, session);
        assert!(
            matches!(report.retry, Some(RetryReason::Unreachable | RetryReason::EndOfStream)),
            "{report:?}"
        );
        // Connections are refused while the server is stopped.
        let refused = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
        assert_eq!(refused.retry, Some(RetryReason::Unreachable), "{refused:?}");
        server.restart().unwrap();
    }
    // The camera is running again within 5 s, the longest backoff.
    let back = source.frame_where(PATIENCE, |frame| Some(frame.header.session) != session);
    deliver(back.unwrap());
    stop(source);
}

#[test]
fn reconnects_a_camera_that_stalls() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "stall_timeout_ms = 500");
    let first = source.frame(PATIENCE).unwrap();
    let session = first.header.session;
    deliver(first);
    server.set_silent(true);
    let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
    assert_eq!((report.retry, report.session), (Some(RetryReason::Stalled), Some(session)));
    server.set_silent(false);
    deliver(source.frame_where(PATIENCE, |frame| frame.header.session != session).unwrap());
    stop(source);
}

#[test]
fn a_rate_limit_below_the_stall_timeout_is_not_a_stall() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "stall_timeout_ms = 400\nfps = 1");
    let first = source.frame(PATIENCE).unwrap();
    let second = source.frame(PATIENCE).unwrap();
    assert_eq!(first.header.session, second.header.session);
    assert!(second.header.pts_ns.unwrap() - first.header.pts_ns.unwrap() >= 750_000_000);
    assert!(source.ledger.counts().received >= 15);
    [first, second].into_iter().for_each(deliver);
    stop(source);
}

#[test]
fn a_change_of_resolution_keeps_the_session() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "");
    let before = source.frame(PATIENCE).unwrap();
    assert_eq!(size(&before), (320, 240));
    server.set_size(640, 160);
    let after = source.frame_where(PATIENCE, |frame| size(frame) == (640, 160)).unwrap();
    let expected = Take::default().wanted.fit.place(Size { width: 640, height: 160 }, after.pixels.size());
    assert_eq!(after.header.placement, expected);
    assert_eq!(after.header.session, before.header.session);
    // The black bar of the new letterbox.
    assert!(after.pixels.rgb()[..320 * 3 * 50].iter().all(|byte| *byte == 0));
    [before, after].into_iter().for_each(deliver);
    stop(source);
}

#[test]
fn a_wrong_password_is_unauthorized_and_never_shown() {
    let _module = lock_module(module_path!());
    let login = Some(("viewer".to_owned(), "r1ght-pass".to_owned()));
    let server = RtspServer::start(RtspSettings { login, ..RtspSettings::default() }).unwrap();
    for (password, wanted) in [("wr0ng-pass", CameraStatus::Retrying), ("r1ght-pass", CameraStatus::Running)]
    {
        let settings = settings(&server.uri_with_login("viewer", password), "");
        let source = RunningSource::start(settings, Take::default()).unwrap();
        let report = source.report(wanted, PATIENCE).unwrap();
        assert!(!format!("{report:?}").contains("pass\"") && !format!("{report:?}").contains(password));
        if wanted == CameraStatus::Retrying {
            assert_eq!(report.retry, Some(RetryReason::Unauthorized), "{report:?}");
        }
        stop(source);
    }
}

#[test]
fn an_unknown_stream_path_is_not_found() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let uri = server.uri().replace("/cam", "/other");
    let source = RunningSource::start(settings(&uri, "retry_attempts = 2"), Take::default()).unwrap();
    let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
    assert_eq!(report.retry, Some(RetryReason::NotFound), "{report:?}");
    let (end, counts) = source.run_out(PATIENCE, |_| ()).unwrap();
    assert!(matches!(end, SourceEnd::Failed { reason: RetryReason::NotFound, .. }), "{end:?}");
    assert_eq!(counts.received, 0);
}

#[test]
fn frames_are_dated_by_sender_reports() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "");
    let first = source.frame(PATIENCE).unwrap();
    deliver(first);
    let dated = source.frame_where(PATIENCE, |frame| frame.header.clock == Clock::Rtcp).unwrap();
    // The server has this machine's clock, so the frame was captured a moment ago.
    let age = Timestamp::now().ms_since(dated.header.captured_at);
    assert!((0..3_000).contains(&age), "{age}");
    assert!(dated.header.arrived_at <= dated.header.decoded_at);
    assert!(dated.header.decoded_at <= dated.header.ready_at);
    deliver(dated);
    stop(source);
}

#[test]
fn a_session_keeps_the_rtcp_clock_across_key_frames() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "");
    let dated = source.frame_where(PATIENCE, |frame| frame.header.clock == Clock::Rtcp).unwrap();
    let mut last = dated.header.clone();
    deliver(dated);
    // Four groups of pictures (GOPs).
    for _ in 0..48 {
        let frame = source.frame(PATIENCE).unwrap();
        let header = frame.header.clone();
        assert_eq!((header.session, header.clock), (last.session, Clock::Rtcp), "frame {}", header.seq);
        assert!(header.captured_at >= last.captured_at, "{header:?} after {last:?}");
        last = header;
        deliver(frame);
    }
    stop(source);
}

#[test]
fn receives_frames_over_udp() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let source = watch(&server, "transport = \"udp\"");
    deliver(source.frame(PATIENCE).unwrap());
    stop(source);
}

#[test]
fn a_self_signed_certificate_is_refused_unless_verification_is_disabled() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings { tls: true, ..RtspSettings::default() }).unwrap();
    let refused = watch(&server, "");
    let report = refused.report(CameraStatus::Retrying, PATIENCE).unwrap();
    assert_eq!(report.retry, Some(RetryReason::Untrusted), "{report:?}");
    let detail = report.detail.unwrap();
    assert!(detail.contains("(unknown-ca") && detail.contains("tls_verify = false"), "{detail}");
    stop(refused);
    let source = watch(&server, "tls_verify = false");
    deliver(source.frame(PATIENCE).unwrap());
    stop(source);
}

#[test]
fn probe_returns_the_stream_or_the_fault() {
    let _module = lock_module(module_path!());
    let mut server = RtspServer::start(RtspSettings::default()).unwrap();
    let settings = settings(&server.uri(), "");
    let probed = lookout_ingest::probe(&settings, PATIENCE).unwrap();
    assert_eq!((probed.codec.as_str(), probed.size), ("H.264", Size { width: 320, height: 240 }));
    assert!((probed.fps.unwrap() - 25.0).abs() < 3.0, "{probed:?}");
    server.stop().unwrap();
    let fault = lookout_ingest::probe(&settings, PATIENCE).unwrap_err();
    assert_eq!(fault.reason, RetryReason::Unreachable);
    assert!(fault.detail.contains("127.0.0.1"), "{fault}");
}
