//! Cameras with records that no worker has published.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use lookout_config::{Brokers, KafkaSettings};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::interval};

/// What would run, were a record's text ever taken for HTML.
pub(super) const HOSTILE: &str =
    "<img src=x onerror=\"window.ran='label'\"><script>window.ran='script'</script>";

/// Cameras that publish of themselves for as long as this guard lives.
pub(super) struct Scene {
    pub(super) publishing: JoinHandle<()>,
    producer: Arc<BaseProducer>,
    kafka: KafkaSettings,
}

/// What a camera of the scene does.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    id: String,
    status: &'static str,
    detail: Option<&'static str>,
    label: &'static str,
    session: String,
}

impl Actor {
    pub(super) fn new(
        id: &str,
        status: &'static str,
        detail: Option<&'static str>,
        label: &'static str,
    ) -> Self {
        Self {
            id: id.into(),
            status,
            detail,
            label,
            session: lookout_schema::SessionId::generate().to_string(),
        }
    }
}

/// The interval between frames, and the number of frames between snapshots or status records.
const FRAME_EVERY: Duration = Duration::from_millis(200);
const PICTURE_EVERY: u64 = 5;

impl Scene {
    pub(super) fn start(kafka: &KafkaSettings, actors: Vec<Actor>) -> Result<Self> {
        let Brokers::Servers(servers) = &kafka.brokers else { anyhow::bail!("no brokers") };
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000")
            .create()?;
        let producer = Arc::new(producer);
        let (sent, topics) = (Arc::clone(&producer), kafka.topics.clone());
        let (width, height) = (480, 270);
        let jpegs = [jpeg(width, height, 0)?, jpeg(width, height, 90)?];
        let seq = AtomicU64::new(0);
        let publishing = tokio::spawn(async move {
            let mut ticks = interval(FRAME_EVERY);
            loop {
                ticks.tick().await;
                let seq = seq.fetch_add(1, Ordering::Relaxed);
                let publish = |topic: &str, key: &str, record: &Value| {
                    let payload = record.to_string();
                    let _ = sent.send(BaseRecord::to(topic).key(key).payload(&payload));
                };
                for actor in &actors {
                    if actor.status == "running" {
                        publish(&topics.frames, &actor.id, &frame(actor, seq));
                        if seq.is_multiple_of(PICTURE_EVERY) {
                            let jpeg = &jpegs[(seq / PICTURE_EVERY % 2) as usize];
                            publish(&topics.snapshots, &actor.id, &snapshot(actor, seq, jpeg));
                        }
                    }
                    if seq.is_multiple_of(PICTURE_EVERY) {
                        publish(&topics.status, &actor.id, &status(actor, seq));
                    }
                }
                if seq.is_multiple_of(PICTURE_EVERY) {
                    publish(&topics.status, "edge-1", &worker(actors.len()));
                }
                sent.poll(Duration::ZERO);
            }
        });
        Ok(Self { publishing, producer, kafka: kafka.clone() })
    }

    pub(super) fn publish_alert(&self, record: &Value) -> Result<()> {
        let payload = record.to_string();
        let record = BaseRecord::to(&self.kafka.topics.alerts).key("gate").payload(&payload);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(self.producer.flush(Duration::from_secs(20))?)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.publishing.abort();
    }
}

fn now() -> Value {
    json!(lookout_schema::Timestamp::now())
}

fn jpeg(width: u32, height: u32, shift: u32) -> Result<String> {
    let mut bytes = Vec::new();
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        let stripe = if ((x + shift) / 60).is_multiple_of(2) { 20 } else { 0 };
        image::Rgb([70 + stripe, 84 + (y / 5) as u8, 96 + stripe])
    });
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(&image)?;
    Ok(STANDARD.encode(&bytes))
}

fn detections(actor: &Actor, seq: u64) -> Value {
    let x = 300.0 + (seq % 50) as f64 * 8.0;
    json!([
        {"class_id": 0, "label": actor.label, "score": 0.91, "box": [x, 400.0, x + 160.0, 800.0]},
        {"class_id": 2, "label": "car", "score": 0.84, "box": [1300.0, 500.0, 1700.0, 760.0]},
    ])
}

fn frame(actor: &Actor, seq: u64) -> Value {
    json!({
        "schema": "lookout.frame/1", "camera": actor.id, "worker": "edge-1", "epoch": 0, "session": actor.session,
        "seq": seq, "pts_ns": seq * 200_000_000, "captured_at": now(), "clock": "arrival", "published_at": now(),
        "age_ms": 0, "timing_us": {"decode": 800, "queue": 2100, "infer": 21_000, "post": 130},
        "source": {"width": 1920, "height": 1080},
        "model": {"arch": "retinanet_resnet50_fpn", "weights": "random:7", "precision": "fp32"},
        "dropped_before": {}, "detections": detections(actor, seq), "classes": [],
    })
}

fn snapshot(actor: &Actor, seq: u64, jpeg: &str) -> Value {
    json!({
        "schema": "lookout.snapshot/1", "camera": actor.id, "worker": "edge-1", "epoch": 0, "session": actor.session,
        "seq": seq, "captured_at": now(), "clock": "arrival", "source": {"width": 1920, "height": 1080},
        "image": {"width": 480, "height": 270}, "jpeg": jpeg, "detections": detections(actor, seq),
    })
}

fn ledger(published: u64) -> Value {
    json!({
        "received": published + 12, "processing": 0, "published": published, "delivered": published, "in_flight": 0,
        "spooled": 0, "dropped": {"queue_full": 9, "stale": 3}, "expired": {},
    })
}

fn status(actor: &Actor, seq: u64) -> Value {
    let running = actor.status == "running";
    let retry = actor.detail.map(|_| "unauthorized");
    json!({
        "schema": "lookout.status/1", "kind": "camera", "at": now(), "camera": actor.id, "worker": "edge-1",
        "epoch": 0, "session": running.then_some(&actor.session), "status": actor.status, "retry": retry,
        "detail": actor.detail, "reconnects": 0, "fps": if running { 5.0 } else { 0.0 },
        "age_ms": running.then_some(40), "clock": running.then_some("arrival"), "ledger": ledger(seq),
    })
}

fn worker(cameras: usize) -> Value {
    json!({
        "schema": "lookout.status/1", "kind": "worker", "at": now(), "worker": "edge-1", "version": "0.1.0",
        "state": "running", "started_at": now(), "cameras": cameras,
        "model": {"arch": "retinanet_resnet50_fpn", "weights": "random:7", "precision": "fp32"}, "device": "cpu",
        "device_busy": 0.42, "batch_size": 3.5, "stage_restarts": 0, "ledger": ledger(1),
        "load": {"age_ms": 60, "latency_budget_ms": 300, "degraded_cameras": 0},
        "fleet": {"partitions": [0, 2], "max_cameras": null, "cameras_over_limit": 0, "invalid_records": [HOSTILE]},
    })
}

pub(super) fn alert(id: &str, level: &str, message: &str) -> Value {
    json!({
        "schema": "lookout.alert/1", "id": id, "version": 1, "consumer": "adas", "rule": "collision",
        "state": "raised", "level": level, "at": now(), "raised_at": now(), "published_at": now(), "age_ms": 0,
        "camera": "gate", "message": message,
        "evidence": {"kind": "dwell", "zone": HOSTILE, "dwell_s": 61.25,
            "object": {"tracker": "adas", "id": 4, "label": HOSTILE, "score": 0.9, "box": [1.0, 2.0, 30.0, 40.0]}},
    })
}

/// The cameras of most tests.
pub(super) fn actors() -> Vec<Actor> {
    vec![
        Actor::new("gate", "running", None, "person"),
        Actor::new("hostile", "running", None, HOSTILE),
        Actor::new("broken", "failed", Some(HOSTILE), "person"),
    ]
}
