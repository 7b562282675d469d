//! What consumers need: resuming at stored offsets, topics that are created later, and writing records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lookout_broker::{
    Embedded, KafkaSink, Offsets, OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions, RecordReader,
    RecordWithOffset, RecordWriter, TopicIds, Written,
};
use lookout_schema::{AlertEvidence, AlertLevel, AlertRecord, AlertState, RecordKind, Timestamp};

use crate::{
    common::{PATIENCE, Source, drain},
    settings::settings,
};

fn alert(id: &str) -> AlertRecord {
    let now = Timestamp::now();
    AlertRecord {
        schema: AlertRecord::SCHEMA.into(),
        id: id.into(),
        version: 1,
        consumer: "test".into(),
        rule: "down".into(),
        state: AlertState::Raised,
        level: AlertLevel::Warning,
        at: now,
        raised_at: now,
        published_at: now,
        age_ms: 0,
        camera: None,
        worker: Some("edge-1".parse().unwrap()),
        frame: None,
        message: "no sign of life".into(),
        evidence: AlertEvidence::WorkerDown { for_s: 30.0 },
    }
}

fn everything(from: ReadFrom, until_end: bool) -> ReaderOptions {
    let kinds = RecordKind::ALL.to_vec();
    ReaderOptions { from, kinds, until_end, missing: OnMissingTopic::Follow, ..ReaderOptions::default() }
}

async fn next(reader: &mut RecordReader) -> RecordWithOffset {
    tokio::time::timeout(PATIENCE, reader.next_with_offset()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_consumer_resumes_at_its_stored_offsets() {
    let cluster = Embedded::start(&settings("")).unwrap();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut source = Source::live("gate");
    for _ in 0..10 {
        source.publish(&sink);
    }
    drain(&sink).await;
    let mut places = Offsets::new();
    let mut seen = Vec::new();
    for stops in [4, 3, 3] {
        let options = everything(ReadFrom::Offsets(places.clone(), TopicIds::new()), false);
        let mut reader = RecordReader::open(cluster.settings(), &options).await.unwrap();
        for _ in 0..stops {
            let placed = next(&mut reader).await;
            let ReadRecord::Frame(frame) = placed.record else { panic!("{placed:?}") };
            seen.push(frame.seq);
            places.insert((placed.kind, placed.partition), placed.offset + 1);
        }
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    // Offsets that are out of range, as after a topic was recreated, are not used.
    places.values_mut().for_each(|offset| *offset = 1_000_000);
    let options = everything(ReadFrom::Offsets(places, TopicIds::new()), false);
    let mut reader = RecordReader::open(cluster.settings(), &options).await.unwrap();
    assert_eq!(next(&mut reader).await.offset, 0);
}

#[tokio::test]
async fn a_topic_created_later_is_read_from_its_start() {
    let cluster = Embedded::start(&settings("")).unwrap();
    let mut later = cluster.settings().clone();
    later.topics.alerts = "made.later.v1".into();
    let mut reader = RecordReader::open(&later, &everything(ReadFrom::Now, false)).await.unwrap();
    let writer = RecordWriter::start(&later).unwrap();
    for id in ["a", "b"] {
        writer.write(Written::Alert(&alert(id))).await.unwrap();
    }
    for id in ["a", "b"] {
        let placed = next(&mut reader).await;
        assert!(matches!(&placed.record, ReadRecord::Alert(alert) if alert.id == id), "{placed:?}");
    }
    let more = tokio::time::timeout(Duration::from_secs(3), reader.next()).await;
    assert!(more.is_err(), "{more:?}");
    // A reader that stops at the end reads all existing records.
    let mut all = RecordReader::open(&later, &everything(ReadFrom::Beginning, true)).await.unwrap();
    let mut ids = Vec::new();
    while let Some(record) = all.next().await.unwrap() {
        if let ReadRecord::Alert(alert) = record {
            ids.push(alert.id);
        }
    }
    assert_eq!(ids, ["a", "b"]);
}
