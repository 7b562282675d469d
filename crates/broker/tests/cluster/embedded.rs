//! The sink, the reader and the check against the embedded cluster.

use std::time::{Duration, Instant};

use crate::{
    common::{PATIENCE, Source, connected, drain, read_all, status},
    settings::settings,
};
use lookout_broker::{
    BrokerError, Embedded, KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader, check,
};
use lookout_config::{Brokers, Secret};
use lookout_schema::StatusRecord;
use lookout_stage::RecordSink;
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

fn embedded() -> Embedded {
    let settings = lookout_config::KafkaSettings { brokers: Brokers::Embedded, ..settings("") };
    Embedded::start(&settings).unwrap()
}

#[tokio::test]
async fn all_records_arrive_in_order_per_camera() {
    let cluster = embedded();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut sources = [Source::live("gate"), Source::lossless("file", 1000), Source::live("yard")];
    for _ in 0..500 {
        for source in &mut sources {
            source.publish(&sink);
        }
    }
    drain(&sink).await;
    for source in &sources {
        assert_eq!(source.counts().delivered, 500);
    }
    let seen = read_all(cluster.settings()).await;
    assert_eq!(seen.len(), 3);
    for (camera, seqs) in seen {
        assert_eq!(seqs, (0..500).collect::<Vec<_>>(), "{camera}");
    }
    assert_eq!((sink.health().outbox, sink.health().in_flight, sink.health().oldest_unacked), (0, 0, None));
}

#[tokio::test]
async fn another_kafka_client_can_read_the_keyed_records() {
    let cluster = embedded();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut sources = [Source::live("gate"), Source::live("yard")];
    for n in 0..40 {
        sources[n % 2].publish(&sink);
    }
    drain(&sink).await;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .set("group.id", "foreign")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[&cluster.settings().topics.frames]).unwrap();
    let mut partitions_of = std::collections::BTreeMap::<Vec<u8>, Vec<i32>>::new();
    let deadline = Instant::now() + PATIENCE;
    while partitions_of.values().map(Vec::len).sum::<usize>() < 40 {
        assert!(Instant::now() < deadline);
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            partitions_of.entry(message.key().unwrap().to_vec()).or_default().push(message.partition());
        }
    }
    assert_eq!(partitions_of.keys().collect::<Vec<_>>(), [b"gate", b"yard"]);
    for mut partitions in partitions_of.into_values() {
        partitions.dedup();
        assert_eq!(partitions.len(), 1, "all records of a camera are in one partition");
    }
}

#[tokio::test]
async fn status_records_sent_right_after_the_start_arrive() {
    let cluster = embedded();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    sink.report(&status("gate"));
    sink.report(&status("yard"));
    drain(&sink).await;
    let options = ReaderOptions {
        from: ReadFrom::Beginning,
        until_end: true,
        camera: Some("yard".parse().unwrap()),
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(cluster.settings(), &options).await.unwrap();
    let Some(ReadRecord::Status(record)) = reader.next().await.unwrap() else {
        panic!("not a status record")
    };
    let StatusRecord::Camera(record) = *record else { panic!("not a camera's status") };
    assert_eq!(record.camera.as_str(), "yard");
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_oversized_record_is_rejected_and_the_next_one_is_delivered() {
    let cluster = embedded();
    let mut gate = Source::live("gate");
    let sink = connected(cluster.settings(), &mut gate).await;
    gate.publish_with(&sink, &"x".repeat(2_000_000));
    gate.publish(&sink);
    drain(&sink).await;
    let counts = gate.counts();
    assert_eq!(counts.delivered, 2);
    assert_eq!(counts.expired, [(lookout_schema::ExpireCause::Rejected, 1)].into());
    assert_eq!(read_all(cluster.settings()).await.into_values().collect::<Vec<_>>(), [[0, 2]]);
}

#[tokio::test]
async fn a_reader_from_now_returns_new_records_and_reports_unreadable_ones() {
    let cluster = embedded();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let (mut gate, mut yard) = (Source::live("gate"), Source::live("yard"));
    gate.publish(&sink);
    drain(&sink).await;
    let mut reader = RecordReader::open(cluster.settings(), &ReaderOptions::default()).await.unwrap();

    let foreign: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().unwrap();
    let frames = &cluster.settings().topics.frames;
    foreign.send(BaseRecord::to(frames).key("gate").payload("{\"schema\": 3}")).unwrap();
    foreign.flush(PATIENCE).unwrap();
    let Some(ReadRecord::Unreadable { topic, reason, .. }) = reader.next().await.unwrap() else {
        panic!("the record is not reported as unreadable")
    };
    assert_eq!(topic, *frames);
    assert!(reason.contains("invalid type: integer `3`"), "{reason}");

    yard.publish(&sink);
    let Some(ReadRecord::Frame(frame)) = reader.next().await.unwrap() else { panic!("not a frame record") };
    assert_eq!((frame.camera.as_str(), frame.seq), ("yard", 0));
}

#[tokio::test]
async fn reading_missing_topics_to_their_end_is_an_error() {
    let cluster = embedded();
    let mut other = cluster.settings().clone();
    other.topics = lookout_schema::Topics::new("other").unwrap();
    let options = ReaderOptions { from: ReadFrom::Beginning, until_end: true, ..ReaderOptions::default() };
    let error = RecordReader::open(&other, &options).await.unwrap_err();
    assert!(matches!(&error, BrokerError::NoTopic { topic, .. } if topic == "other.frames.v1"), "{error}");
}

#[test]
fn the_check_finds_brokers_and_topics() {
    let cluster = embedded();
    let found = check(cluster.settings(), Duration::from_secs(10)).unwrap();
    assert_eq!(found.problem, None);
    assert_eq!(found.brokers, [cluster.bootstrap()]);
    let partitions: Vec<_> = found.topics.iter().map(|topic| topic.partitions).collect();
    assert_eq!(partitions, [Some(3), Some(3)]);
}

#[test]
fn the_check_returns_the_problem_and_advice() {
    let cases = [
        ("127.0.0.1:1", "refused", "nothing listens there"),
        ("no-such-host.invalid:9092", "no-such-host.invalid", "the host name cannot be resolved"),
    ];
    for (servers, what, advice) in cases {
        let problem = check(&settings(servers), Duration::from_secs(1)).unwrap().problem.unwrap();
        assert!(problem.what.contains(what), "{problem:?}");
        assert!(problem.advice.starts_with(advice), "{problem:?}");
    }
}

#[test]
fn the_check_reports_tls_to_a_plaintext_broker() {
    let cluster = embedded();
    let mut settings = cluster.settings().clone();
    settings.client = vec![("security.protocol".into(), Secret::new("ssl"))];
    let problem = check(&settings, Duration::from_secs(1)).unwrap().problem.unwrap();
    assert!(problem.advice.contains("security.protocol"), "{problem:?}");
}

#[test]
fn the_embedded_broker_ignores_security_settings() {
    let mut settings = settings("");
    settings.client = vec![
        ("security.protocol".into(), Secret::new("sasl_ssl")),
        ("sasl.password".into(), Secret::new("hunter2")),
        ("linger.ms".into(), Secret::new("1")),
    ];
    let cluster = Embedded::start(&settings).unwrap();
    assert_eq!(cluster.settings().client, [("linger.ms".into(), Secret::new("1"))]);
}

#[test]
fn an_unknown_librdkafka_setting_is_an_error_at_the_start() {
    let mut settings = settings("127.0.0.1:1");
    settings.client = vec![("sasl.pasword".into(), Secret::new("hunter2"))];
    let error = KafkaSink::start(&settings).unwrap_err().to_string();
    assert!(error.starts_with("kafka.client.sasl.pasword: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn contradicting_settings_are_an_error_at_the_start() {
    let mut settings = settings("127.0.0.1:1");
    settings.client = vec![("max.in.flight".into(), Secret::new("10"))];
    let error = KafkaSink::start(&settings).unwrap_err();
    assert!(matches!(&error, BrokerError::Client { reason } if reason.contains("max.in.flight")), "{error}");
}
