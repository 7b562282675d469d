//! Load test of the monitor: an embedded broker, simulated cameras with moving objects, and the CPU time and
//! memory of the monitor.
//!
//! ```text
//! cargo bench -p lookout-monitor --bench load -- --cameras 500 --fps 10 --seconds 180 --lookout "$PWD/target/release/lookout"
//! ```
//!
//! Without `--lookout` it only prints the address of the broker; start a monitor with `--brokers` yourself.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers of the monitor")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Cursor},
    num::NonZeroUsize,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lookout_broker::{Embedded, KafkaSink};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{
    BBox, CameraStatus, CameraStatusRecord, Clock, Detection, Epoch, FrameRecord, ModelInfo, RecordFormat,
    SessionId, Size, SnapshotRecord, StatusRecord, Timestamp, TimingUs, Topics, WorkerState,
    WorkerStatusRecord,
};
use lookout_stage::{CameraLedger, RecordSink};

const SOURCE: Size = Size { width: 1280, height: 720 };
const LABELS: [&str; 3] = ["person", "car", "bicycle"];

fn option(name: &str) -> Option<String> {
    let mut args = env::args().skip_while(|arg| arg != name);
    args.next().and(args.next())
}

fn number(name: &str, default: f64) -> f64 {
    option(name).map_or(default, |text| text.parse().unwrap())
}

struct Camera {
    ledger: Arc<CameraLedger>,
    worker: usize,
    session: SessionId,
    seq: u64,
    objects: u64,
    jpeg: Vec<u8>,
}

impl Camera {
    fn new(i: usize, objects: f64) -> Self {
        let image = image::RgbImage::from_fn(320, 180, |x, y| {
            image::Rgb([(x / 2) as u8, y as u8, (i * 37 % 256) as u8])
        });
        let mut jpeg = Cursor::new(Vec::new());
        image.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        Self {
            ledger: CameraLedger::new(format!("cam-{i:03}").parse().unwrap()),
            worker: i / 50,
            session: SessionId::generate(),
            seq: 0,
            objects: objects as u64 + (i as u64 % 6),
            jpeg: jpeg.into_inner(),
        }
    }

    fn detections(&self, i: usize) -> Vec<Detection> {
        let object = |n: u64| {
            // Each walks to and fro on a row of its own.
            let at = (self.seq as f32 * (2.0 + n as f32) + (i as f32 * 91.0) + n as f32 * 160.0) % 2300.0;
            let x = if at < 1150.0 { at } else { 2300.0 - at };
            let y = 20.0 + n as f32 * 55.0;
            let class = (n % 3) as usize;
            Detection {
                class_id: class as u32 + 1,
                label: LABELS[class].into(),
                score: 0.9,
                bbox: BBox { x1: x, y1: y, x2: x + 60.0, y2: y + 50.0 },
                classes: Vec::new(),
            }
        };
        (0..self.objects.min(12)).map(object).collect()
    }

    fn frame(&mut self, i: usize, sink: &KafkaSink) {
        let mut ticket = self.ledger.receive(self.session, self.seq);
        let now = Timestamp::now();
        let dropped_before = ticket.published(now.as_unix_us());
        let captured_at = now - Duration::from_millis(60);
        let record = FrameRecord {
            schema: FrameRecord::SCHEMA.into(),
            camera: self.ledger.camera().clone(),
            worker: format!("edge-{}", self.worker).parse().unwrap(),
            epoch: Epoch(1),
            session: self.session,
            seq: self.seq,
            pts_ns: None,
            captured_at,
            clock: Clock::Rtcp,
            published_at: now,
            age_ms: 60,
            timing_us: TimingUs { decode: 800, queue: 2000, infer: 20_000, post: 100 },
            source: SOURCE,
            model: model(),
            classifier: None,
            dropped_before,
            detections: self.detections(i),
            classes: Vec::new(),
        };
        sink.publish(&record, ticket);
        self.seq += 1;
    }

    fn snapshot(&self, i: usize, sink: &KafkaSink) {
        sink.snapshot(&SnapshotRecord {
            schema: SnapshotRecord::SCHEMA.into(),
            camera: self.ledger.camera().clone(),
            worker: format!("edge-{}", self.worker).parse().unwrap(),
            epoch: Epoch(1),
            session: self.session,
            seq: self.seq,
            captured_at: Timestamp::now(),
            clock: Clock::Rtcp,
            source: SOURCE,
            image: Size { width: 320, height: 180 },
            jpeg: self.jpeg.clone(),
            detections: self.detections(i),
        });
    }

    fn status(&self, fps: f64, sink: &KafkaSink) {
        sink.report(&StatusRecord::Camera(CameraStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at: Timestamp::now(),
            camera: self.ledger.camera().clone(),
            worker: format!("edge-{}", self.worker).parse().unwrap(),
            epoch: Epoch(1),
            session: Some(self.session),
            status: CameraStatus::Running,
            retry: None,
            detail: None,
            reconnects: 0,
            fps,
            age_ms: Some(60),
            clock: Some(Clock::Rtcp),
            ledger: self.ledger.counts(),
            priority: Some(50),
            degraded: None,
        }));
    }
}

fn model() -> ModelInfo {
    let [arch, weights, precision] = ["fcos_resnet50_fpn", "random:7", "bf16"].map(Into::into);
    ModelInfo { arch, weights, precision }
}

fn worker(i: usize, cameras: u64, started_at: Timestamp, sink: &KafkaSink) {
    sink.report(&StatusRecord::Worker(WorkerStatusRecord {
        schema: StatusRecord::SCHEMA.into(),
        at: Timestamp::now(),
        worker: format!("edge-{i}").parse().unwrap(),
        version: "0.1.0".into(),
        state: WorkerState::Running,
        started_at,
        cameras,
        model: model(),
        device: "cpu".into(),
        device_busy: 0.6,
        batch_size: 6.5,
        stage_restarts: 0,
        ledger: Default::default(),
        load: None,
        fleet: None,
    }));
}

fn main() {
    let (count, fps) = (number("--cameras", 20.0) as usize, number("--fps", 10.0));
    let seconds = number("--seconds", 1e9);
    let settings = KafkaSettings {
        brokers: Brokers::Embedded,
        topics: Topics::new("lookout").unwrap(),
        partitions: 4,
        replication: 1,
        buffer_records: NonZeroUsize::new(100_000).unwrap(),
        format: RecordFormat::Json,
        password_file: None,
        client: Vec::new(),
    };
    let cluster = Embedded::start(&settings).unwrap();
    println!("brokers {}", cluster.bootstrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut cameras: Vec<Camera> = (0..count).map(|i| Camera::new(i, number("--objects", 5.0))).collect();
    let monitor = option("--lookout").map(|program| Monitor::start(&program, cluster.bootstrap()));
    let (started, started_at) = (Instant::now(), Timestamp::now());
    let mut slot = 0_u64;
    let mut looked = Instant::now();
    // The cameras' frames are spread over the time from one to the next.
    let slots = 10_u64;
    let each = Duration::from_secs_f64(1.0 / fps / slots as f64);
    while started.elapsed().as_secs_f64() < seconds {
        for (i, camera) in cameras.iter_mut().enumerate().filter(|(i, _)| *i as u64 % slots == slot % slots) {
            camera.frame(i, &sink);
            if (camera.seq + i as u64).is_multiple_of((fps as u64).max(1)) {
                camera.snapshot(i, &sink);
            }
            if (camera.seq + i as u64).is_multiple_of((5 * fps as u64).max(1)) {
                camera.status(fps, &sink);
            }
        }
        slot += 1;
        if slot % (slots * fps as u64 * 5).max(1) == 1 {
            (0..count.div_ceil(50)).for_each(|i| worker(i, 50, started_at, &sink));
        }
        if looked.elapsed() > Duration::from_secs(10) {
            looked = Instant::now();
            let sent: u64 = cameras.iter().map(|camera| camera.seq).sum();
            print!("{:>4.0} s  {sent} frames", started.elapsed().as_secs_f64());
            monitor.iter().for_each(Monitor::print);
            println!();
        }
        let next = started + each * u32::try_from(slot).unwrap_or(u32::MAX);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The monitor, as a process of its own.
struct Monitor {
    child: Child,
    _folder: tempfile::TempDir,
    last: std::cell::Cell<(Instant, u64)>,
}

impl Monitor {
    fn start(program: &str, brokers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("monitor.toml");
        let rules = include_str!("../../../pipelines/monitor.toml").replace("../lookout-monitor", "store");
        fs::write(&file, rules).unwrap();
        let http = option("--http").unwrap_or("127.0.0.1:0".into());
        let mut child = Command::new(program)
            .args(["monitor", file.to_str().unwrap(), "--brokers", brokers, "--http", &http])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        print!("{line}");
        Self { child, _folder: folder, last: (Instant::now(), 0).into() }
    }

    fn print(&self) {
        let process = Path::new("/proc").join(self.child.id().to_string());
        let stat = fs::read_to_string(process.join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // In hundredths of a second, which is what every Linux has.
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = fs::read_to_string(process.join("status")).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
        let now = Instant::now();
        let (at, before) = self.last.replace((now, ticks));
        let share = (ticks - before) as f64 / 100.0 / now.duration_since(at).as_secs_f64();
        print!("  monitor: {share:.2} cores, {rss}");
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
