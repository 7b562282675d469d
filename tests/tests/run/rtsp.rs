//! `lookout run` on RTSP cameras.

use std::time::{Duration, Instant};

use lookout_schema::{CameraStatus, Clock, RetryReason, Size, StatusRecord};
use lookout_tests::{
    isolation::lock_module,
    program::{DETECTOR, Running, embedded},
    records::{Records, by_session},
    rtsp::{RtspServer, RtspSettings},
    video::clip,
};

const PATIENCE: Duration = Duration::from_secs(600);

/// The worker's own backoff is part of what this test measures, so its times are those of production.
#[tokio::test]
async fn frames_flow_again_after_two_outages_of_three_seconds() {
    let _module = lock_module(module_path!());
    let file = Some(clip());
    let mut server = RtspServer::start(RtspSettings { file, ..RtspSettings::default() }).unwrap();
    let mut running = Running::start(&format!("[[camera]]\nid = \"cam\"\nuri = {:?}", server.uri())).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let mut frames = vec![records.frame(PATIENCE).await.unwrap()];
    for _ in 0..2 {
        // Two seconds into the stream.
        let cut_at = Instant::now() + Duration::from_secs(2);
        while let Ok(frame) = records.frame(cut_at.saturating_duration_since(Instant::now())).await {
            frames.push(frame);
        }
        let session = frames[frames.len() - 1].session;
        server.stop().unwrap();
        let back_at = Instant::now() + Duration::from_secs(3);
        while let Ok(frame) = records.frame(back_at.saturating_duration_since(Instant::now())).await {
            frames.push(frame);
        }
        server.restart().unwrap();
        let back = records.frame_where(PATIENCE, |frame| frame.session != session).await;
        let back = back.unwrap();
        println!("frames flow {} ms after the restart", (Instant::now() - back_at).as_millis());
        assert_eq!(back.source, Size { width: 768, height: 576 });
        frames.push(back);
    }
    running.signal("INT").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.summary.check().unwrap();
    let cam = &ended.summary.cameras["cam"];
    assert_eq!((cam.processing, cam.published), (0, cam.delivered), "{cam:?}");
    let sessions = by_session(&frames);
    assert_eq!(sessions.len(), 3);
    assert!(sessions.values().all(|seqs| seqs.is_sorted_by(|a, b| a < b)), "{sessions:?}");
    let retried = records.statuses.iter().any(|status| match status {
        StatusRecord::Camera(camera) => {
            camera.status == CameraStatus::Retrying && camera.retry == Some(RetryReason::Unreachable)
        }
        StatusRecord::Worker(_) => false,
    });
    assert!(retried, "{:?}", records.statuses);
}

#[tokio::test]
async fn handles_stalls_and_changes_of_resolution_and_dates_frames_by_rtcp() {
    let _module = lock_module(module_path!());
    let server = RtspServer::start(RtspSettings::default()).unwrap();
    let camera = format!("[[camera]]\nid = \"cam\"\nuri = {:?}\nstall_timeout_ms = 1000", server.uri());
    let mut running = Running::start(&camera).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let first = records.frame(PATIENCE).await.unwrap();
    let dated = records.frame_where(PATIENCE, |frame| frame.clock == Clock::Rtcp).await.unwrap();
    assert!((0..3_000).contains(&dated.age_ms), "{dated:?}");
    server.set_size(640, 160);
    let wide = Size { width: 640, height: 160 };
    let wider = records.frame_where(PATIENCE, |frame| frame.source == wide).await.unwrap();
    assert_eq!(wider.session, first.session);
    server.set_silent(true);
    let stalled = |running: &Running| running.log().contains("reason=\"stalled\"").then_some(());
    running.until("the stall is noticed", PATIENCE, stalled).unwrap();
    server.set_silent(false);
    records.frame_where(PATIENCE, |frame| frame.session != first.session).await.unwrap();
    running.signal("TERM").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.summary.check().unwrap();
}

#[tokio::test]
async fn passwords_appear_in_no_log_record_or_metric() {
    let _module = lock_module(module_path!());
    let login = Some(("viewer".to_owned(), "r1ght-pass".to_owned()));
    let server = RtspServer::start(RtspSettings { login, ..RtspSettings::default() }).unwrap();
    let good = server.uri_with_login("viewer", "r1ght-pass");
    let bad = server.uri_with_login("viewer", "wr0ng-pass");
    let mut running = Running::start(&format!(
        "status_interval_ms = 200\n[[camera]]\nid = \"good\"\nuri = {good:?}\n[[camera]]\nid = \"bad\"\nuri = {bad:?}"
    ))
    .unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let refused = |running: &Running| running.log().contains("reason=\"unauthorized\"").then_some(());
    running.until("the wrong password is refused", PATIENCE, refused).unwrap();
    let flows = |running: &Running| running.page("/readyz").filter(|(code, _)| *code == 200);
    let (_, ready) = running.until("frames flow", PATIENCE, flows).unwrap();
    assert!(ready.contains("\"flowing\":1") && ready.contains("bad"), "{ready}");
    let (_, metrics) = running.page("/metrics").unwrap();
    assert!(metrics.contains("lookout_camera_status{camera=\"good\",status=\"running\"} 1"), "{metrics}");
    let mut texts = format!("{:?}", records.frame(PATIENCE).await.unwrap());
    texts += &format!("{:?}{ready}{metrics}", records.statuses);
    running.signal("INT").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    // Ingest's own tests cover the log at its most verbose level.
    texts += &ended.log;
    for secret in ["r1ght-pass", "wr0ng-pass"] {
        assert!(!texts.contains(secret), "{texts}");
    }
}

#[tokio::test]
async fn detections_are_inside_an_rtsp_cameras_frames() {
    let _module = lock_module(module_path!());
    let file = Some(clip());
    let server = RtspServer::start(RtspSettings { file, ..RtspSettings::default() }).unwrap();
    let camera = format!("[[camera]]\nid = \"cam\"\nuri = {:?}", server.uri());
    let mut running = Running::start_with(DETECTOR, &camera).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let mut boxes = 0;
    for _ in 0..30 {
        // The invariants of the boxes are checked for each record that is read.
        let frame = records.frame(PATIENCE).await.unwrap();
        assert_eq!(frame.source, Size { width: 768, height: 576 });
        boxes += frame.detections.len();
    }
    assert!(boxes > 0);
    running.signal("INT").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.summary.check().unwrap();
}
