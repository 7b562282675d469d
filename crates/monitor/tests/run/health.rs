//! The health of the monitor while the brokers refuse reads or are unreachable.

use std::time::{Duration, Instant};

use lookout_broker::KafkaSink;
use lookout_schema::{
    CameraStatus, CameraStatusRecord, Epoch, LedgerCounts, RecordKind, StatusRecord, Timestamp,
};
use lookout_stage::RecordSink;
use tempfile::TempDir;

use super::{Camera, Running, cluster, healthy, settings, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthorized_snapshots_affect_only_the_images() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    cluster.set_refused(RecordKind::Snapshot, true).unwrap();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let running = Running::start(settings(&cluster, &folder, "")).await;
    let mut camera = Camera::new("gate");
    camera.publish(&sink);
    until("the camera, and the notice", async || {
        let overview = running.get("/api/overview").await.json();
        let notice = overview["notices"].get(0)?.as_str()?;
        let is_it = notice.starts_with("Images are not available: `lookout.snapshots.v1` cannot be read");
        (is_it && overview["cameras"].get(0).is_some()).then_some(())
    })
    .await;
    healthy(&running, 200).await;
    cluster.set_refused(RecordKind::Snapshot, false).unwrap();
    until("no notice", async || {
        let overview = running.get("/api/overview").await.json();
        overview["notices"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_reports_unauthorized_frames_until_they_can_be_read() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    cluster.set_refused(RecordKind::Frame, true).unwrap();
    let running = Running::start(settings(&cluster, &folder, "")).await;
    // The refusal is also reported from the start on.
    until("the refusal", async || healthy(&running, 503).await.contains("lookout.frames.v1").then_some(()))
        .await;
    cluster.set_refused(RecordKind::Frame, false).unwrap();
    healthy(&running, 200).await;
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut camera = Camera::new("gate");
    let frames = async |at_least: u64| {
        until("the frames", async || {
            let frames = running.get("/metrics").await.text;
            let line =
                frames.lines().find(|line| line.contains("records_total{topic=\"frames\"}"))?.to_owned();
            (line.rsplit(' ').next()?.parse::<u64>().ok()? >= at_least).then_some(())
        })
        .await;
    };
    camera.publish(&sink);
    frames(1).await;
    cluster.set_refused(RecordKind::Frame, true).unwrap();
    healthy(&running, 503).await;
    cluster.set_refused(RecordKind::Frame, false).unwrap();
    healthy(&running, 200).await;
    camera.publish(&sink);
    frames(2).await;
    assert!(!running.task.is_finished());
}

/// The monitor loses its connection and the cameras do not, as when the brokers return at another address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_monitor_is_unhealthy_and_raises_no_camera_alert() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let rule = "[[rule]]\nname = \"down\"\nkind = \"camera_down\"\nfor_s = 1\nlevel = \"critical\"\n\
                [[rule]]\nname = \"worker\"\nkind = \"worker_down\"\nfor_s = 1";
    let running = Running::start(settings(&cluster, &folder, rule)).await;
    // Status records come every second, so three missing ones count as silence.
    let mut beats = 0;
    let alert_count = async || running.get("/api/alerts").await.json()["alerts"].as_array().unwrap().len();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        sink.report(&status("gate"));
        beats += 1;
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        assert_eq!(alert_count().await, 0, "after {beats} beats");
    }
    healthy(&running, 200).await;
    cluster.set_away(true).unwrap();
    let reason = healthy(&running, 503).await;
    assert!(reason.contains("cannot be reached") || reason.contains("do not answer"), "{reason}");
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(12) {
        assert_eq!(running.get("/healthz").await.status, 503);
        assert_eq!(alert_count().await, 0);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.set_away(false).unwrap();
    sink.report(&status("gate"));
    healthy(&running, 200).await;
    // A camera that is really silent is reported, once the missed records are read.
    until("the alert", async || (alert_count().await > 0).then_some(())).await;
}

fn status(camera: &str) -> StatusRecord {
    StatusRecord::Camera(CameraStatusRecord {
        schema: StatusRecord::SCHEMA.into(),
        at: Timestamp::now(),
        camera: camera.parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session: None,
        status: CameraStatus::Running,
        retry: None,
        detail: None,
        reconnects: 0,
        fps: 5.0,
        age_ms: None,
        clock: None,
        ledger: LedgerCounts::default(),
        priority: None,
        degraded: None,
    })
}
