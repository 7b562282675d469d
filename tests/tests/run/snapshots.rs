//! `lookout run` with `[snapshots]`, and the snapshots that consumers receive.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use image::{ImageFormat, RgbImage};
use lookout_schema::{FrameRecord, SessionId, Size, SnapshotRecord};
use lookout_tests::{
    isolation::lock_module,
    program::{DETECTOR, Running, embedded},
    records::Records,
    video::write_quarters,
};
use rdkafka::{
    ClientConfig, Message,
    consumer::{Consumer, StreamConsumer},
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(600);

/// A classifier whose input is a center crop of the frame.
const CROPPED: &str = "name = \"test\"\n[model]\narch = \"resnet18\"\nweights = \"random:0\"\ninput = \"64x64\"\n\
                       resize_mode = \"center-crop\"\n";

struct Snapshots(StreamConsumer);

impl Snapshots {
    fn open(address: &str) -> Self {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("group.id", "test")
            .set("auto.offset.reset", "earliest")
            .create()
            .unwrap();
        consumer.subscribe(&[&embedded(address).topics.snapshots]).unwrap();
        Self(consumer)
    }

    async fn next(&self) -> SnapshotRecord {
        let message = timeout(PATIENCE, self.0.recv()).await.unwrap().unwrap();
        let snapshot: SnapshotRecord = serde_json::from_slice(message.payload().unwrap()).unwrap();
        assert_eq!(message.key().unwrap(), snapshot.camera.as_str().as_bytes());
        assert_eq!(snapshot.schema, SnapshotRecord::SCHEMA);
        snapshot
    }
}

fn decoded(snapshot: &SnapshotRecord) -> RgbImage {
    let image = image::load_from_memory_with_format(&snapshot.jpeg, ImageFormat::Jpeg).unwrap().into_rgb8();
    assert_eq!((image.width(), image.height()), (snapshot.image.width, snapshot.image.height));
    image
}

/// Checks the colors just inside the corners of a frame of [`write_quarters`].
fn assert_whole_frame(image: &RgbImage) {
    let (right, below) = (image.width() - 5, image.height() - 5);
    for ((x, y), wanted) in [
        ((4, 4), [255, 0, 0]),
        ((right, 4), [0, 255, 0]),
        ((4, below), [0, 0, 255]),
        ((right, below), [255, 255, 255]),
    ] {
        let seen = image.get_pixel(x, y).0;
        let far = seen.iter().zip(wanted).map(|(seen, wanted): (&u8, u8)| seen.abs_diff(wanted)).max();
        assert!(far < Some(40), "{seen:?} at {x}, {y} of {:?}", image.dimensions());
    }
}

fn video(folder: &Path, size: Size) -> String {
    let path = folder.join(format!("{}x{}.avi", size.width, size.height));
    write_quarters(&path, size, 100).unwrap();
    format!("{path:?}")
}

#[tokio::test]
async fn snapshots_show_their_frames_with_the_same_detections() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let (wide, high) = (Size { width: 640, height: 360 }, Size { width: 240, height: 480 });
    let lines = format!(
        "drain_s = 600\n[infer]\ninterval = 5\n[snapshots]\ninterval_ms = 400\n[[camera]]\nid = \"wide\"\nuri = {}\nloop = true\n\
         [[camera]]\nid = \"high\"\nuri = {}\nloop = true",
        video(folder.path(), wide),
        video(folder.path(), high)
    );
    let mut running = Running::start_with(DETECTOR, &lines).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let snapshots = Snapshots::open(&address);
    let mut frames = BTreeMap::<(SessionId, u64), FrameRecord>::new();
    let (mut detections, mut seen) = (0, BTreeMap::<String, Vec<SnapshotRecord>>::new());
    while seen.len() < 2 || seen.values().any(|of_camera| of_camera.len() < 3) {
        let snapshot = snapshots.next().await;
        let (source, size) = if snapshot.camera.as_str() == "wide" {
            (wide, Size { width: 320, height: 180 })
        } else {
            // The frame is not wider than the limit, so it is not scaled.
            (high, high)
        };
        assert_eq!((snapshot.source, snapshot.image), (source, size));
        assert_whole_frame(&decoded(&snapshot));
        let of = (snapshot.session, snapshot.seq);
        while !frames.contains_key(&of) {
            let frame = records.frame(PATIENCE).await.unwrap();
            frames.insert((frame.session, frame.seq), frame);
        }
        let frame = &frames[&of];
        assert_eq!((&frame.camera, frame.source, frame.epoch), (&snapshot.camera, source, snapshot.epoch));
        assert_eq!((frame.captured_at, frame.clock), (snapshot.captured_at, snapshot.clock));
        assert_eq!(frame.detections, snapshot.detections);
        detections += snapshot.detections.len();
        seen.entry(snapshot.camera.to_string()).or_default().push(snapshot);
    }
    assert!(detections > 0, "no snapshot has a detection");
    for snapshots in seen.values() {
        for pair in snapshots.windows(2) {
            let apart = pair[1].captured_at.ms_since(pair[0].captured_at);
            assert!((400..800).contains(&apart), "{apart} ms apart");
        }
    }
    let (_, page) = running.page("/metrics").unwrap();
    let published = page.lines().find_map(|line| line.strip_prefix("lookout_snapshots_published_total "));
    assert!(published.unwrap().parse::<u64>().unwrap() >= 6, "{page}");
    // A consumer would wait long for a broker that has stopped.
    drop(snapshots);
    running.signal("INT").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.summary.check().unwrap();
}

#[tokio::test]
async fn snapshots_show_the_whole_frame_despite_a_center_crop() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let video = video(folder.path(), Size { width: 640, height: 360 });
    let lines = format!("[snapshots]\nwidth = 128\n[[camera]]\nid = \"wide\"\nuri = {video}\nloop = true");
    let mut running = Running::start_with(CROPPED, &lines).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let snapshot = Snapshots::open(&address).next().await;
    assert_eq!(snapshot.image, Size { width: 128, height: 72 });
    assert_whole_frame(&decoded(&snapshot));
    running.signal("INT").unwrap();
    running.finish(PATIENCE).unwrap().summary.check().unwrap();
}

/// Takes a snapshot per camera every 100 ms, in a run where no frame may be missing.
#[test]
fn many_snapshots_lose_no_frame_of_a_file() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let video = video(folder.path(), Size { width: 640, height: 360 });
    let mut lines = "[snapshots]\ninterval_ms = 100\nwidth = 640\nquality = 100\n".to_owned();
    for camera in 0..4 {
        lines += &format!("[[camera]]\nid = \"cam-{camera}\"\nuri = {video}\n");
    }
    let started = Instant::now();
    let ended = Running::start(&lines).unwrap().finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{} after {:?}", ended.log, started.elapsed());
    ended.summary.check().unwrap();
    assert!(ended.summary.cameras.values().all(|camera| camera.delivered == 100), "{:?}", ended.summary);
}
