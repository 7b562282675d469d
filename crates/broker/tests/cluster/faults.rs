//! The sink and a cluster with faults: records are not lost unless a bound requires it, and every lost record
//! is counted.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use crate::{
    common::{Source, connected, drain, read_all, status, until},
    forwarder::Forwarder,
    settings::settings,
};
use lookout_broker::KafkaSink;
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{ExpireCause, RecordKind};
use lookout_stage::RecordSink;
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> (Cluster, KafkaSettings) {
    cluster_of(1)
}

fn cluster_of(brokers: i32) -> (Cluster, KafkaSettings) {
    let cluster = MockCluster::new(brokers).unwrap();
    let settings = settings(&cluster.bootstrap_servers());
    for topic in [&settings.topics.frames, &settings.topics.status] {
        cluster.create_topic(topic, 3, 1).unwrap();
    }
    (cluster, settings)
}

#[tokio::test]
async fn a_broker_outage_loses_no_records_of_a_file() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 200);
    let sink = connected(&settings, &mut file).await;
    cluster.broker_down(-1).unwrap();
    for _ in 0..199 {
        file.publish(&sink);
    }
    until("the sink reports the outage", || {
        let health = sink.health();
        !health.connected && health.last_error.is_some()
    })
    .await;
    let health = sink.health();
    assert_eq!(health.outbox + health.in_flight, 199);
    assert!(health.oldest_unacked.is_some());
    cluster.broker_up(-1).unwrap();
    for _ in 0..300 {
        file.publish(&sink);
    }
    drain(&sink).await;
    until("the sink is connected again", || sink.health().connected).await;
    assert_eq!(sink.health().last_error, None);
    assert_eq!(file.counts().delivered, 500);
    assert_eq!(read_all(&settings).await.into_values().collect::<Vec<_>>(), [(0..500).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn the_oldest_live_records_expire_when_the_buffer_is_full() {
    let (cluster, mut settings) = cluster();
    settings.buffer_records = NonZeroUsize::new(20).unwrap();
    let (mut gate, mut file) = (Source::live("gate"), Source::lossless("file", 100));
    let sink = connected(&settings, &mut gate).await;
    cluster.broker_down(-1).unwrap();
    for _ in 0..100 {
        gate.publish(&sink);
        file.publish(&sink);
    }
    let counts = gate.counts();
    assert_eq!(counts.expired, [(ExpireCause::BufferFull, 80)].into());
    assert_eq!(counts.in_flight + counts.spooled, 20);
    assert_eq!(file.counts().expired, [].into());
    cluster.broker_up(-1).unwrap();
    drain(&sink).await;
    assert_eq!((gate.counts().delivered, file.counts().delivered), (21, 100));
    let seen = read_all(&settings).await;
    // The records that the Kafka client held when the broker went down, and the latest ones.
    let gates: Vec<u64> = (0..2).chain(82..101).collect();
    assert_eq!(seen[gate.ledger.camera()], gates);
    assert_eq!(seen[file.ledger.camera()], (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn transient_errors_cause_no_loss_and_no_duplicates() {
    use RDKafkaRespErr::*;
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 100);
    let sink = connected(&settings, &mut file).await;
    let errors = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    for _ in 0..300 {
        file.publish(&sink);
    }
    drain(&sink).await;
    assert_eq!(file.counts().delivered, 301);
    assert_eq!(read_all(&settings).await.into_values().collect::<Vec<_>>(), [(0..301).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn unknown_errors_are_retried() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 10);
    let sink = connected(&settings, &mut file).await;
    let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
    cluster.request_errors(RDKafkaApiKey::Produce, &[unknown]);
    file.publish(&sink);
    drain(&sink).await;
    assert_eq!((file.counts().delivered, file.counts().expired), (2, [].into()));
}

#[tokio::test]
async fn a_revoked_permission_is_reported_and_loses_no_records() {
    let (cluster, mut settings) = cluster();
    // The interval at which librdkafka refreshes the state of the topic.
    settings.client.push(("topic.metadata.refresh.interval.ms".into(), lookout_config::Secret::new("200")));
    let mut file = Source::lossless("file", 100);
    let sink = connected(&settings, &mut file).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal, refusal]);
    for _ in 0..100 {
        file.publish(&sink);
    }
    until("the sink reports the rejection", || !sink.health().refused.is_empty()).await;
    let (kind, why) = sink.health().refused.remove(0);
    assert_eq!(kind, RecordKind::Frame);
    assert!(why.contains("TopicAuthorizationFailed") && why.contains("WRITE"), "{why}");
    drain(&sink).await;
    assert_eq!((file.counts().delivered, file.counts().expired), (101, [].into()));
    let health = sink.health();
    assert_eq!(health.refused, []);
    assert!(
        health.refusals.iter().any(|it| it.error == "TopicAuthorizationFailed" && it.count >= 2),
        "{health:?}"
    );
    assert_eq!(read_all(&settings).await.into_values().collect::<Vec<_>>(), [(0..101).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn records_rejected_for_their_timestamp_are_retried() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 10);
    let sink = connected(&settings, &mut file).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal, refusal]);
    file.publish(&sink);
    until("the sink reports the rejection", || {
        sink.health().refused.iter().any(|(_, why)| why.contains("clocks"))
    })
    .await;
    drain(&sink).await;
    assert_eq!((file.counts().delivered, file.counts().expired), (2, [].into()));
}

#[tokio::test]
async fn rejected_status_records_are_reported() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 10);
    let sink = connected(&settings, &mut file).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    sink.report(&status("gate"));
    until("the sink reports the rejection", || {
        sink.health().refused.iter().any(|(kind, _)| *kind == RecordKind::Status)
    })
    .await;
    assert!(sink.health().refusals.iter().any(|it| it.kind == RecordKind::Status && it.count > 0));
}

#[tokio::test]
async fn a_permanently_rejected_record_expires() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 10);
    let sink = connected(&settings, &mut file).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    file.publish(&sink);
    drain(&sink).await;
    assert_eq!(file.counts().expired, [(ExpireCause::Rejected, 1)].into());
}

#[tokio::test]
async fn a_partition_without_a_leader_delays_only_its_own_cameras() {
    let (cluster, mut settings) = cluster_of(2);
    let frames = settings.topics.frames.clone();
    for partition in 0..3 {
        cluster.partition_leader(&frames, partition, Some(if partition == 0 { 2 } else { 1 })).unwrap();
    }
    settings.buffer_records = NonZeroUsize::new(60).unwrap();
    let mut cameras: Vec<Source> = ["a", "b", "c", "d", "e", "f"].map(Source::live).into();
    let sink = KafkaSink::start(&settings).unwrap();
    for camera in &mut cameras {
        camera.publish(&sink);
    }
    drain(&sink).await;
    cluster.broker_down(2).unwrap();
    for camera in &mut cameras {
        camera.publish(&sink);
    }
    let is_held_up =
        |camera: &Source| sink.health().held_up.iter().any(|(held_up, _)| held_up == camera.ledger.camera());
    let settled = |camera: &Source| camera.counts().delivered == 2 || is_held_up(camera);
    until("each camera is delivered or held up", || cameras.iter().all(settled)).await;
    let (mut stuck, mut flowing): (Vec<_>, Vec<_>) = cameras.into_iter().partition(is_held_up);
    assert!(!flowing.is_empty() && !stuck.is_empty(), "{} cameras are held up", stuck.len());
    for n in 2..300 {
        for camera in stuck.iter_mut().chain(&mut flowing) {
            camera.publish(&sink);
        }
        until("the records of the other cameras are delivered", || {
            flowing.iter().all(|camera| camera.counts().delivered == n + 1)
        })
        .await;
    }
    assert!(flowing.iter().all(|camera| camera.counts().expired.is_empty()));
    assert!(stuck.iter().all(|camera| camera.counts().expired.contains_key(&ExpireCause::BufferFull)));
    cluster.broker_up(2).unwrap();
    drain(&sink).await;
    for (_, seqs) in read_all(&settings).await {
        assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    }
}

#[tokio::test]
async fn reconnects_to_moved_brokers_through_the_bootstrap_address() {
    // Like a load balancer or a Kubernetes service, whose address is the only stable one.
    let (first, settings) = cluster();
    let front = Forwarder::start(&first.bootstrap_servers());
    let behind = KafkaSettings { brokers: Brokers::Servers(front.address()), ..settings };
    let mut file = Source::lossless("file", 100);
    let sink = connected(&behind, &mut file).await;
    front.lead_to(None);
    drop(first);
    until("the sink is disconnected", || !sink.health().connected).await;
    for _ in 0..99 {
        file.publish(&sink);
    }
    let (second, at_second) = cluster();
    front.lead_to(Some(&second.bootstrap_servers()));
    until("all records are delivered", || file.counts().delivered == 100).await;
    until("the sink is connected again", || sink.health().connected).await;
    assert_eq!(read_all(&at_second).await.into_values().collect::<Vec<_>>(), [(1..100).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn an_oversized_batch_loses_only_the_oversized_record() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 10);
    let sink = connected(&settings, &mut file).await;
    // The broker refuses the batch, and then its first record alone.
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal, refusal]);
    for _ in 0..10 {
        file.publish(&sink);
    }
    drain(&sink).await;
    let counts = file.counts();
    assert_eq!((counts.delivered, counts.expired[&ExpireCause::Rejected]), (10, 1));
    let expected: Vec<u64> = [0].into_iter().chain(2..11).collect();
    assert_eq!(read_all(&settings).await.into_values().collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn a_producer_is_recreated_after_a_fatal_error_without_loss() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 500);
    let sink = connected(&settings, &mut file).await;
    // The broker has lost the sequence numbers: librdkafka cannot continue with this producer.
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[fatal]);
    for _ in 0..500 {
        file.publish(&sink);
    }
    drain(&sink).await;
    assert_eq!((file.counts().delivered, file.counts().expired), (501, [].into()));
    let seen = read_all(&settings).await.into_values().next().unwrap();
    assert_eq!(seen, (0..501).collect::<Vec<_>>());
}

#[tokio::test]
async fn records_wait_for_a_missing_topic() {
    let (cluster, mut settings) = cluster();
    settings.client.push(("topic.metadata.propagation.max.ms".into(), lookout_config::Secret::new("100")));
    let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.topic_error(&settings.topics.frames, missing).unwrap();
    let mut file = Source::lossless("file", 100);
    let sink = KafkaSink::start(&settings).unwrap();
    for _ in 0..100 {
        file.publish(&sink);
    }
    until("the records are returned to the outbox", || {
        sink.health().outbox > 0 && sink.health().in_flight == 0
    })
    .await;
    cluster.topic_error(&settings.topics.frames, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    drain(&sink).await;
    assert_eq!(file.counts().delivered, 100);
    assert_eq!(read_all(&settings).await.into_values().collect::<Vec<_>>(), [(0..100).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn remaining_records_expire_at_the_drain_deadline() {
    let sink = KafkaSink::start(&settings("127.0.0.1:1")).unwrap();
    let (mut gate, mut file) = (Source::live("gate"), Source::lossless("file", 10));
    for _ in 0..10 {
        gate.publish(&sink);
        file.publish(&sink);
    }
    let started = Instant::now();
    sink.drain(started + Duration::from_millis(300)).await;
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(5));
    gate.publish(&sink);
    assert_eq!(gate.counts().expired, [(ExpireCause::Shutdown, 11)].into());
    assert_eq!(file.counts().expired, [(ExpireCause::Shutdown, 10)].into());
}

#[tokio::test]
async fn dropping_a_sink_without_a_drain_settles_its_tickets() {
    let (cluster, settings) = cluster();
    let mut file = Source::lossless("file", 50);
    let sink = connected(&settings, &mut file).await;
    cluster.broker_down(-1).unwrap();
    for _ in 0..50 {
        file.publish(&sink);
    }
    let started = Instant::now();
    drop(sink);
    assert!(started.elapsed() < Duration::from_secs(5));
    let counts = file.counts();
    assert_eq!(counts.delivered + counts.expired[&ExpireCause::Shutdown], 51);
}
