//! Snapshots and frame records: snapshots are best effort and do not affect the records.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    common::{PATIENCE, Source, drain, read_all, status, until},
    settings::settings,
};
use lookout_broker::{Embedded, KafkaSink};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{Clock, Epoch, RecordKind, SessionId, Size, SnapshotRecord, Timestamp};
use lookout_stage::RecordSink;
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::RDKafkaRespErr,
};

const KINDS: [RecordKind; 3] = [RecordKind::Frame, RecordKind::Status, RecordKind::Snapshot];

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> (Cluster, KafkaSettings) {
    let cluster = MockCluster::new(1).unwrap();
    let settings = settings(&cluster.bootstrap_servers());
    for topic in KINDS.map(|kind| settings.topics.of(kind)) {
        cluster.create_topic(topic, 3, 1).unwrap();
    }
    (cluster, settings)
}

fn snapshot(camera: &str, seq: u64, bytes: usize) -> SnapshotRecord {
    SnapshotRecord {
        schema: SnapshotRecord::SCHEMA.into(),
        camera: camera.parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session: SessionId::generate(),
        seq,
        captured_at: Timestamp::now(),
        clock: Clock::Arrival,
        source: Size { width: 768, height: 576 },
        image: Size { width: 320, height: 240 },
        jpeg: (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect(),
        detections: Vec::new(),
    }
}

/// Returns a connected sink for all topics of a worker, which has delivered a record of `source`.
async fn sink_for(settings: &KafkaSettings, source: &mut Source) -> KafkaSink {
    let sink = KafkaSink::start_for(settings, &KINDS).unwrap();
    source.publish(&sink);
    until("the first record is delivered", || source.counts().delivered == 1).await;
    sink
}

/// Reads the topic until `enough` returns true; returns the snapshots by key.
fn read(
    settings: &KafkaSettings,
    enough: impl Fn(&BTreeMap<String, Vec<SnapshotRecord>>) -> bool,
) -> BTreeMap<String, Vec<SnapshotRecord>> {
    let Brokers::Servers(servers) = &settings.brokers else { panic!("the settings have no address") };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "snapshots")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[&settings.topics.snapshots]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut seen = BTreeMap::<String, Vec<SnapshotRecord>>::new();
    while !enough(&seen) {
        assert!(Instant::now() < deadline, "timed out, snapshots so far: {:?}", seen.keys());
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            seen.entry(key).or_default().push(serde_json::from_slice(message.payload().unwrap()).unwrap());
        }
    }
    seen
}

#[tokio::test]
async fn snapshots_arrive_complete_and_in_order_per_camera() {
    let embedded = KafkaSettings { brokers: Brokers::Embedded, ..settings("") };
    let cluster = Embedded::start(&embedded).unwrap();
    let sink = sink_for(cluster.settings(), &mut Source::live("gate")).await;
    let mut sent = BTreeMap::<String, Vec<SnapshotRecord>>::new();
    for seq in 0..5 {
        for camera in ["gate", "yard"] {
            let record = snapshot(camera, seq, 9_000);
            sink.snapshot(&record);
            sent.entry(camera.into()).or_default().push(record);
        }
        drain(&sink).await;
    }
    let seen = read(cluster.settings(), |seen| seen.values().map(Vec::len).sum::<usize>() >= 10);
    assert_eq!(seen, sent);
    assert_eq!(sink.health().snapshots_lost, 0);
}

#[tokio::test]
async fn only_the_latest_snapshots_wait_during_an_outage_and_no_records_are_lost() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 200);
    let sink = sink_for(&settings, &mut file).await;
    cluster.broker_down(-1).unwrap();
    until("the sink is disconnected", || !sink.health().connected).await;
    for seq in 0..100 {
        sink.snapshot(&snapshot("gate", seq, 100_000));
        sink.snapshot(&snapshot("yard", seq, 100_000));
        sink.report(&status(&format!("cam-{seq}")));
        file.publish(&sink);
    }
    cluster.broker_up(-1).unwrap();
    drain(&sink).await;
    assert_eq!((file.counts().delivered, file.counts().expired), (101, [].into()));
    assert_eq!(read_all(&settings).await.into_values().collect::<Vec<_>>(), [(0..101).collect::<Vec<_>>()]);
    let has_latest = |seen: &Vec<SnapshotRecord>| seen.last().is_some_and(|last| last.seq == 99);
    let seen = read(&settings, |seen| seen.len() == 2 && seen.values().all(has_latest));
    let arrived: usize = seen.values().map(Vec::len).sum();
    assert_eq!(sink.health().snapshots_lost, 200 - arrived as u64);
    // The in-flight limit of 1 MiB, and the latest waiting snapshot of each camera.
    assert!(arrived <= 7 + 2, "{arrived}");
}

#[tokio::test]
async fn denied_snapshots_delay_neither_records_nor_a_drain() {
    let (cluster, settings) = cluster();
    let mut gate = Source::live("gate");
    let sink = sink_for(&settings, &mut gate).await;
    cluster
        .topic_error(&settings.topics.snapshots, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        .unwrap();
    for seq in 0..20 {
        sink.snapshot(&snapshot("gate", seq, 1_000));
        gate.publish(&sink);
    }
    let started = Instant::now();
    drain(&sink).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!((gate.counts().delivered, gate.counts().expired), (21, [].into()));
}
