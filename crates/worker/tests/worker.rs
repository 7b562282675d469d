//! Tests of a worker with faulty components: which data each fault affects, and which it does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{net::TcpListener, sync::Arc, time::Duration};

use common::{
    Load, NetworkMood, Seat, Sink, assert_adds_up, by_session, pipeline, start, start_in_fleet, start_loading,
};
use lookout_schema::{
    CameraSpec, CameraStatus, DropCause, Epoch, ExpireCause, FrameRecord, RegistryRecord, StatusRecord,
    WorkerState,
};
use lookout_stage::{BootTime, FleetEvent, Lease, Ownership};
use lookout_worker::{DeviceLost, NetworkFailed, StopRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn all_frames_of_files_are_delivered_and_the_run_ends() {
    let cameras = [("a", "/good-1000"), ("b", "/good-10"), ("c", "/good-0")];
    let running = start(pipeline(&cameras, ""), NetworkMood::Well, Sink::default());
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    assert!(summary.failures().is_empty());
    let delivered: Vec<u64> = summary.cameras.values().map(|camera| camera.delivered).collect();
    assert_eq!(delivered, [1000, 10, 0]);
    assert!(summary.cameras.values().all(|camera| camera.status == CameraStatus::Ended));
    for seqs in by_session(&running.sink.records.lock().unwrap()).values() {
        assert!(seqs.is_sorted_by(|a, b| a + 1 == *b));
    }
    let statuses = running.sink.statuses.lock().unwrap();
    let Some(StatusRecord::Worker(last)) =
        statuses.iter().rfind(|status| matches!(status, StatusRecord::Worker(_)))
    else {
        panic!("the worker sent no status record")
    };
    assert_eq!((last.state, last.ledger.delivered), (WorkerState::Stopped, 1010));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_camera_does_not_affect_the_others() {
    let cameras = [("bad", "/missing"), ("good", "/good-500"), ("worse", "/panic")];
    let running = start(pipeline(&cameras, ""), NetworkMood::Well, Sink::default());
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    assert_eq!(summary.cameras[&"good".parse().unwrap()].delivered, 500);
    let failures = summary.failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert_eq!((failures[0].0.as_str(), failures[0].1.as_str()), ("bad", "not_found: no such file"));
    assert!(failures[1].1.contains("a source panics"), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_camera_that_panics_is_restarted() {
    let running = start(pipeline(&[("cam", "test://panic")], ""), NetworkMood::Well, Sink::default());
    running.until(|records| by_session(records).len() >= 3).await;
    running.stop.send(StopRequest).await.unwrap();
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    let camera = &summary.cameras[&"cam".parse().unwrap()];
    assert!(camera.reconnects >= 2 && camera.status == CameraStatus::Stopped, "{camera:?}");
    assert!(summary.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_panics_loses_only_one_batch() {
    let running = start(pipeline(&[("a", "/good-300")], ""), NetworkMood::PanicsOnce, Sink::default());
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    let camera = &summary.cameras[&"a".parse().unwrap()];
    let lost = camera.dropped[&DropCause::StageFailed];
    assert!((1..=8).contains(&lost), "{camera:?}");
    assert_eq!(camera.delivered, 300 - lost);
    assert_eq!(summary.failures()[0].1, format!("{lost} of its frames were lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_ends_the_run_with_an_error() {
    let cameras = [("live", "test://ball"), ("file", "/good-100000000")];
    let settings = pipeline(&cameras, "drain_s = 3600");
    let running = start(settings, NetworkMood::LosesDevice, Sink::default());
    let error = running.summary.await.unwrap().unwrap_err();
    assert!(error.is::<DeviceLost>() && error.to_string().contains("an illegal memory access"), "{error:#}");
    let records = running.sink.records.lock().unwrap();
    assert!(!records.is_empty(), "the records of the first batch are published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_drains_the_frames_in_progress() {
    let cameras = [("live", "test://ball"), ("file", "/good-100000000")];
    let running = start(pipeline(&cameras, ""), NetworkMood::Well, Sink::default());
    running.until(|records| by_session(records).len() == 2).await;
    running.stop.send(StopRequest).await.unwrap();
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    assert!(summary.failures().is_empty(), "{summary:?}");
    assert!(summary.cameras.values().all(|camera| camera.status == CameraStatus::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stop_does_not_wait_for_a_stuck_network() {
    let settings = pipeline(&[("a", "/good-100")], "drain_s = 3600");
    let running = start(settings, NetworkMood::Stuck, Sink::default());
    running.stop.send(StopRequest).await.unwrap();
    running.stop.send(StopRequest).await.unwrap();
    let summary = tokio::time::timeout(Duration::from_secs(15), running.summary).await.unwrap();
    let summary = summary.unwrap().unwrap();
    assert_adds_up(&summary);
    assert_eq!(summary.cameras[&"a".parse().unwrap()].delivered, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_delays_the_end_until_the_drain_deadline() {
    let settings = pipeline(&[("a", "/good-100")], "drain_s = 0");
    let running = start(settings, NetworkMood::Well, Sink { away: true, ..Sink::default() });
    running.until(|records| records.len() == 100).await;
    assert!(!running.summary.is_finished(), "records of a file wait without a deadline");
    running.stop.send(StopRequest).await.unwrap();
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    let camera = &summary.cameras[&"a".parse().unwrap()];
    assert_eq!(camera.expired[&ExpireCause::Shutdown], 100);
    assert_eq!(summary.failures().len(), 1);
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_are_served() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = pipeline(&[("cam", "test://ball")], &format!("http = \"{address}\""));
    let running = start(settings, NetworkMood::Well, Sink::default());
    running.until(|records| records.len() > 50).await;
    assert!(get(&address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let ready = get(&address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"flowing\":1"), "{ready}");
    let metrics = get(&address, "/metrics").await;
    for line in [
        "lookout_frames_received_total{camera=\"cam\"}",
        "lookout_frames_delivered_total{camera=\"cam\"}",
        "lookout_camera_status{camera=\"cam\",status=\"",
        "lookout_capture_to_publish_seconds_bucket{",
        "lookout_batch_size_bucket{",
        "lookout_device_busy_seconds_total ",
        "lookout_kafka_connected 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(get(&address, "/other").await.starts_with("HTTP/1.1 404"));
    running.stop.send(StopRequest).await.unwrap();
    running.summary.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_connect_while_the_network_loads_and_their_first_frames_are_published() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let cameras = [("live", "test://ball"), ("file", "/good-200")];
    let settings = pipeline(&cameras, &format!("http = \"{address}\"\nstatus_interval_ms = 100"));
    let (go_on, waits) = std::sync::mpsc::channel();
    let running = start_loading(settings, Load::Waits("reading the weights", waits));
    running.until(|_| ["live", "file"].iter().all(|id| running.has_status(id, CameraStatus::Running))).await;
    let ready = get(&address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("network: reading the weights"), "{ready}");
    assert!(get(&address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(running.sink.records.lock().unwrap().is_empty());
    drop(go_on);
    running.until(|records| by_session(records).len() == 2).await;
    running
        .until(|records| records.iter().filter(|record| record.camera.as_str() == "file").count() == 200)
        .await;
    // The page is updated once per status interval.
    let renewed = async {
        while get(&address, "/readyz").await.contains("network:") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.unwrap();
    running.stop.send(StopRequest).await.unwrap();
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    assert!(summary.failures().is_empty(), "{summary:?}");
    // The file has waited, and the live camera has lost its oldest frames.
    assert_eq!(summary.cameras[&"file".parse().unwrap()].delivered, 200);
    let dropped = &summary.cameras[&"live".parse().unwrap()].dropped;
    assert!(
        dropped
            .keys()
            .all(|cause| { matches!(cause, DropCause::QueueFull | DropCause::Stale | DropCause::Shutdown) }),
        "{dropped:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_fails_to_load_ends_the_run_with_an_error() {
    for (load, reason) in [(Load::Fails("no such weights"), "no such weights"), (Load::Panics, "panicked")] {
        let cameras = [("live", "test://ball"), ("file", "/good-100000000")];
        let running = start_loading(pipeline(&cameras, "drain_s = 3600"), load);
        let error = running.summary.await.unwrap().unwrap_err();
        assert!(error.is::<NetworkFailed>() && error.to_string().contains(reason), "{error:#}");
        let statuses = running.sink.statuses.lock().unwrap();
        for id in ["live", "file"] {
            let last = statuses.iter().rev().find_map(|status| match status {
                StatusRecord::Camera(camera) if camera.camera.as_str() == id => Some(camera),
                _ => None,
            });
            let last = last.unwrap();
            assert_eq!(last.status, CameraStatus::Stopped, "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_loading_waits_only_for_the_current_step() {
    let cameras = [("live", "test://ball"), ("file", "/good-100000000")];
    let (go_on, waits) = std::sync::mpsc::channel();
    let running = start_loading(
        pipeline(&cameras, "drain_s = 3600\nstatus_interval_ms = 100"),
        Load::Waits("reading", waits),
    );
    running.until(|_| ["live", "file"].iter().all(|id| running.has_status(id, CameraStatus::Running))).await;
    running.stop.send(StopRequest).await.unwrap();
    running.until(|_| ["live", "file"].iter().all(|id| running.has_status(id, CameraStatus::Stopped))).await;
    drop(go_on);
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    assert!(summary.failures().is_empty(), "{summary:?}");
    assert!(
        summary.cameras.values().all(|camera| {
            camera.processing == 0
                && camera.published == 0
                && !camera.dropped.contains_key(&DropCause::StageFailed)
        }),
        "{summary:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_port_in_use_is_an_error_before_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = format!("http = \"{}\"", taken.local_addr().unwrap());
    let running = start(pipeline(&[("a", "/good-1")], &http), NetworkMood::Well, Sink::default());
    let error = running.summary.await.unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("worker.http"), "{error:#}");
    assert!(running.sink.records.lock().unwrap().is_empty());
}

/// Returns a registry record of a camera with this behavior.
fn registered(id: &str, mood: &str) -> (String, RegistryRecord) {
    let spec = CameraSpec::new(id.parse().unwrap(), format!("test://{mood}"));
    (id.to_owned(), RegistryRecord::Camera(Box::new(spec)))
}

fn gained(epoch: u64, cameras: &[(&str, &str)]) -> (FleetEvent, Arc<Lease>) {
    let lease = Arc::new(Lease::default());
    lease.renew(BootTime::now() + Duration::from_secs(60));
    let ownership = Ownership::leased(Epoch(epoch), Arc::clone(&lease));
    let records = cameras.iter().map(|(id, mood)| registered(id, mood)).collect();
    (FleetEvent::Gained { partition: 3, ownership, records }, lease)
}

fn sessions(records: &[FrameRecord], camera: &str) -> usize {
    by_session(records).keys().filter(|(id, _)| id == camera).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_fleets_cameras_do_not_affect_the_others() {
    let membership = Seat::default();
    let (running, events) = start_in_fleet("", membership.clone());
    events.send(gained(7, &[("a", "ball"), ("b", "ball")]).0).await.unwrap();
    running.until(|records| ["a", "b"].iter().all(|id| sessions(records, id) == 1)).await;
    assert!(running.sink.records.lock().unwrap().iter().all(|record| record.epoch == Epoch(7)));
    // One camera is added, one is changed, and one keeps running.
    let changed = |(key, record)| FleetEvent::Changed { partition: 3, key, record };
    events.send(changed(registered("c", "ball"))).await.unwrap();
    events.send(changed(registered("b", "snow"))).await.unwrap();
    running.until(|records| sessions(records, "c") == 1 && sessions(records, "b") == 2).await;
    assert_eq!(sessions(&running.sink.records.lock().unwrap(), "a"), 1);
    events.send(changed(("c".into(), RegistryRecord::Removed))).await.unwrap();
    running.until(|_| running.has_status("c", CameraStatus::Stopped)).await;
    // All cameras stop, and then the partition is released.
    events.send(FleetEvent::Leaving { partition: 3 }).await.unwrap();
    running.until(|_| *membership.released.lock().unwrap() == [3]).await;
    running.stop.send(StopRequest).await.unwrap();
    let summary = running.summary.await.unwrap().unwrap();
    assert!(summary.cameras.is_empty() && summary.fleet.is_none(), "{summary:?}");
    assert_eq!(sessions(&running.sink.records.lock().unwrap(), "a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_after_the_lease_has_expired() {
    let (running, events) = start_in_fleet("", Seat::default());
    let lease = Arc::new(Lease::default());
    let until = BootTime::now() + Duration::from_millis(700);
    lease.renew(until);
    let ownership = Ownership::leased(Epoch(7), lease);
    let records = [registered("a", "ball")].into();
    events.send(FleetEvent::Gained { partition: 3, ownership, records }).await.unwrap();
    running.until(|records| records.len() > 10).await;
    running.until(|_| BootTime::now() > until + Duration::from_millis(20)).await;
    let published = running.sink.records.lock().unwrap().len();
    // The camera still runs, because no event has reported its partition as lost.
    running.until(|_| BootTime::now() > until + Duration::from_millis(200)).await;
    assert_eq!(running.sink.records.lock().unwrap().len(), published);
    // This worker owns the camera again, in a new ownership term.
    events.send(FleetEvent::Lost { partition: 3 }).await.unwrap();
    events.send(gained(9, &[("a", "ball")]).0).await.unwrap();
    running.until(|records| records.iter().any(|record| record.epoch == Epoch(9))).await;
    let epochs: Vec<u64> = running.sink.records.lock().unwrap().iter().map(|record| record.epoch.0).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    running.stop.send(StopRequest).await.unwrap();
    running.summary.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_beyond_the_limit_and_bad_records_are_reported() {
    let (running, events) = start_in_fleet("max_cameras = 1", Seat::default());
    let (mut event, _lease) = gained(7, &[("a", "ball"), ("b", "ball")]);
    if let FleetEvent::Gained { records, .. } = &mut event {
        records.insert("wrong".into(), RegistryRecord::Bad("no record".into()));
    }
    events.send(event).await.unwrap();
    running.until(|records| sessions(records, "a") == 1).await;
    running.until(|_| running.has_status("b", CameraStatus::Stopped)).await;
    running.until(|_| running.has_status("wrong", CameraStatus::Failed)).await;
    assert_eq!(sessions(&running.sink.records.lock().unwrap(), "b"), 0);
    events.send(FleetEvent::Failed { reason: "fenced".into() }).await.unwrap();
    let summary = running.summary.await.unwrap().unwrap();
    assert_eq!(summary.fleet.as_deref(), Some("fenced"));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_contain_the_detections_of_their_frames() {
    let cameras = [("a", "/good-20"), ("b", "/good-20")];
    let settings = pipeline(&cameras, "[snapshots]\ninterval_ms = 100");
    let running = start(settings, NetworkMood::Well, Sink::default());
    assert_adds_up(&running.summary.await.unwrap().unwrap());
    let frames = running.sink.records.lock().unwrap();
    let snapshots = running.sink.snapshots.lock().unwrap();
    assert_eq!(snapshots.len(), 40);
    for snapshot in snapshots.iter() {
        let of = |frame: &&FrameRecord| (frame.session, frame.seq) == (snapshot.session, snapshot.seq);
        let frame = frames.iter().find(of).unwrap();
        assert_eq!((&snapshot.camera, &snapshot.detections), (&frame.camera, &frame.detections));
        assert_eq!((snapshot.detections.len(), snapshot.captured_at), (1, frame.captured_at));
        assert_eq!((snapshot.image, &snapshot.jpeg[..2]), (common::SIZE, &[0xff, 0xd8][..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshots_are_published_without_the_section() {
    let running = start(pipeline(&[("a", "/good-20")], ""), NetworkMood::Well, Sink::default());
    assert_adds_up(&running.summary.await.unwrap().unwrap());
    assert_eq!(running.sink.snapshots.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_snapshots_do_not_delay_frames() {
    let sink = Sink { snapshot_takes: Duration::from_millis(100), ..Sink::default() };
    let settings = pipeline(&[("a", "/good-2000")], "[snapshots]\nwidth = 320");
    let running = start(settings, NetworkMood::Well, sink);
    let summary = running.summary.await.unwrap().unwrap();
    assert_adds_up(&summary);
    assert_eq!(summary.cameras[&"a".parse().unwrap()].delivered, 2000);
    assert!(summary.seconds < 20.0, "2000 snapshots take 200 s: {summary:?}");
    assert!(running.sink.snapshots.lock().unwrap().len() < 200);
}
