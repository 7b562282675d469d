//! Readers of a cluster that denies access, is unreachable, or has no leader for a partition: they wait,
//! report it and resume.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use lookout_broker::{
    BrokerError, GroupEvent, GroupReader, KafkaSink, OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions,
    RecordReader, RecordWithOffset, Refused,
};
use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::{
    common::{PATIENCE, Source, drain},
    settings::settings,
};

type Cluster = MockCluster<'static, DefaultProducerContext>;

const REFUSAL: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;

fn cluster() -> (Cluster, KafkaSettings) {
    let cluster = MockCluster::new(1).unwrap();
    let settings = settings(&cluster.bootstrap_servers());
    for kind in RecordKind::ALL {
        cluster.create_topic(settings.topics.of(kind), 2, 1).unwrap();
    }
    (cluster, settings)
}

fn options(refused: Refused) -> ReaderOptions {
    let kinds = vec![RecordKind::Frame, RecordKind::Status, RecordKind::Snapshot];
    ReaderOptions {
        from: ReadFrom::Beginning,
        kinds,
        missing: OnMissingTopic::Follow,
        refused,
        ..ReaderOptions::default()
    }
}

/// Publishes a frame and reads until that frame; returns the number of records read.
async fn passes(settings: &KafkaSettings, source: &mut Source, reader: &mut RecordReader) -> usize {
    let sink = KafkaSink::start(settings).unwrap();
    source.publish(&sink);
    drain(&sink).await;
    let last = source.counts().published - 1;
    let mut read = 0;
    loop {
        let placed =
            tokio::time::timeout(PATIENCE, reader.next_with_offset()).await.unwrap().unwrap().unwrap();
        read += 1;
        if matches!(&placed.record, ReadRecord::Frame(frame) if frame.seq == last) {
            return read;
        }
    }
}

/// Polls the reader, which has no records to read, until `done` returns true for its troubles.
async fn until_troubled(what: &str, reader: &mut RecordReader, mut done: impl FnMut(&[String]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let next = tokio::time::timeout(Duration::from_millis(50), reader.next_with_offset()).await;
        assert!(!matches!(&next, Ok(Err(_))), "{next:?}");
        let troubles: Vec<_> =
            reader.troubles(Instant::now()).into_iter().map(|trouble| trouble.reason).collect();
        if done(&troubles) {
            return;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}: {troubles:?}");
    }
}

#[tokio::test]
async fn a_waiting_reader_resumes_after_a_denial() {
    let (cluster, settings) = cluster();
    let mut source = Source::live("gate");
    let mut reader = RecordReader::open(&settings, &options(Refused::Wait)).await.unwrap();
    // The brokers answer like this while a permission is revoked. Real brokers also send details by which the
    // reader knows how long the denial lasts; the mock cluster does not.
    cluster.request_errors(RDKafkaApiKey::Fetch, &[REFUSAL; 4]);
    assert_eq!(passes(&settings, &mut source, &mut reader).await, 1);
}

/// A reader that has not read anything must fail; this is tested with a real broker, because the mock cluster
/// returns the end offset of a partition even if it denies reading.
#[tokio::test]
async fn an_interactive_reader_resumes_after_a_denial_once_it_has_read() {
    let (cluster, settings) = cluster();
    let mut source = Source::live("gate");
    let mut reader = RecordReader::open(&settings, &options(Refused::Fail)).await.unwrap();
    passes(&settings, &mut source, &mut reader).await;
    cluster.request_errors(RDKafkaApiKey::Fetch, &[REFUSAL; 4]);
    passes(&settings, &mut source, &mut reader).await;
}

#[tokio::test]
async fn a_denied_topic_does_not_affect_the_others_and_is_read_once_allowed() {
    let (cluster, settings) = cluster();
    cluster.topic_error(&settings.topics.snapshots, REFUSAL).unwrap();
    let error = RecordReader::open(&settings, &options(Refused::Fail)).await.unwrap_err();
    assert!(
        matches!(&error, BrokerError::Refused { topic, .. } if *topic == settings.topics.snapshots),
        "{error}"
    );
    let mut source = Source::live("gate");
    let mut reader = RecordReader::open(&settings, &options(Refused::Wait)).await.unwrap();
    passes(&settings, &mut source, &mut reader).await;
    until_troubled("the denial", &mut reader, |troubles| {
        let [reason] = troubles else { return false };
        reason.contains(&settings.topics.snapshots) && reason.contains("authorization")
    })
    .await;
    let troubles = reader.troubles(Instant::now());
    assert_eq!(troubles[0].kind, Some(RecordKind::Snapshot));
    cluster.topic_error(&settings.topics.snapshots, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    until_troubled("the recovery", &mut reader, <[String]>::is_empty).await;
    assert_eq!(reader.partitions()[&RecordKind::Snapshot], 2);
}

#[tokio::test]
async fn reports_unreachable_brokers_until_they_are_back() {
    let (cluster, settings) = cluster();
    let mut source = Source::live("gate");
    let mut reader = RecordReader::open(&settings, &options(Refused::Wait)).await.unwrap();
    until_troubled("reading", &mut reader, <[String]>::is_empty).await;
    cluster.broker_down(-1).unwrap();
    until_troubled("the outage", &mut reader, |troubles| {
        troubles.iter().any(|reason| reason.contains("cannot be reached"))
    })
    .await;
    cluster.broker_up(-1).unwrap();
    until_troubled("the recovery", &mut reader, <[String]>::is_empty).await;
    passes(&settings, &mut source, &mut reader).await;
}

#[tokio::test]
async fn reports_a_broker_that_does_not_answer() {
    let (cluster, settings) = cluster();
    let mut reader = RecordReader::open(&settings, &options(Refused::Wait)).await.unwrap();
    until_troubled("reading", &mut reader, <[String]>::is_empty).await;
    cluster.broker_round_trip_time(-1, Duration::from_secs(30)).unwrap();
    until_troubled("the report of the silent broker", &mut reader, |troubles| {
        troubles.iter().any(|reason| reason.contains("does not answer"))
    })
    .await;
}

#[tokio::test]
async fn a_group_member_resumes_after_a_denial_and_reports_an_outage() {
    let (cluster, settings) = cluster();
    let mut source = Source::live("gate");
    let sink = KafkaSink::start(&settings).unwrap();
    let mut member = GroupReader::join(&settings, "vans").unwrap();
    assert!(member.trouble(Instant::now()).unwrap().contains("the consumer group is not joined"));
    until_read(&sink, &mut source, &mut member).await;
    until_member_troubled("the group to be joined", &mut member, |trouble| trouble.is_none()).await;
    cluster.request_errors(RDKafkaApiKey::Fetch, &[REFUSAL; 4]);
    until_read(&sink, &mut source, &mut member).await;

    cluster.broker_down(-1).unwrap();
    until_member_troubled("the outage", &mut member, |trouble| trouble.is_some()).await;
    cluster.broker_up(-1).unwrap();
    until_member_troubled("the recovery", &mut member, |trouble| trouble.is_none()).await;
    until_read(&sink, &mut source, &mut member).await;
}

/// Publishes until a record is read. A new group reads only records from after its first offsets.
async fn until_read(sink: &KafkaSink, source: &mut Source, member: &mut GroupReader) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        source.publish(sink);
        if let Some(RecordWithOffset { record: ReadRecord::Frame(_), .. }) = received(member).await {
            return;
        }
        assert!(Instant::now() < deadline, "timed out, no record was read");
    }
}

async fn until_member_troubled(
    what: &str,
    member: &mut GroupReader,
    mut done: impl FnMut(Option<&str>) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        received(member).await;
        let trouble = member.trouble(Instant::now());
        if done(trouble) {
            return;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}: {trouble:?}");
    }
}

async fn received(member: &mut GroupReader) -> Option<RecordWithOffset> {
    match tokio::time::timeout(Duration::from_millis(50), member.next()).await {
        Ok(Ok(GroupEvent::Record(placed))) => Some(placed),
        Ok(Ok(GroupEvent::Lost(_))) | Err(_) => None,
        Ok(Err(error)) => panic!("{error}"),
    }
}
