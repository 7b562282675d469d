//! The broker crate against a real Apache Kafka. A JVM takes seconds to start, so scenarios share a server
//! where possible; each has topics of its own.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod limits;

use std::{
    thread,
    time::{Duration, Instant},
};

use lookout_broker::{KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader, check};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{ExpireCause, RecordKind};
use lookout_stage::RecordSink;
use lookout_tests::{
    isolation::lock_module,
    kafka::{KafkaCluster, KafkaServer},
    kafka_acls::{self, Operation, Permission, Resource, Right},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
};

use crate::{
    common::{PATIENCE, Source, connected, drain, read_all, status, until},
    forwarder::Forwarder,
};

/// The module for [`lock_module`], also in the submodules, so that their tests run in parallel with those here.
const MODULE: &str = module_path!();

#[tokio::test]
async fn no_record_is_lost_or_duplicated_when_the_broker_is_killed_for_ten_seconds() -> anyhow::Result<()> {
    let _module = lock_module(MODULE);
    let mut kafka = KafkaServer::start()?;
    topics_are_created_with_the_configured_partitions(&kafka).await?;
    snapshots_have_a_retention_of_one_hour(&kafka).await?;

    let settings = kafka.settings("outage");
    let mut first = Source::lossless("a", 64);
    let sink = connected(&settings, &mut first).await;
    const RECORDS: u64 = 2000;
    let ledgers = thread::scope(|scope| -> anyhow::Result<_> {
        let sources = [first, Source::lossless("b", 64), Source::lossless("c", 8)];
        let ledgers = sources.each_ref().map(|source| source.ledger.clone());
        for mut source in sources {
            let sink = &sink;
            scope.spawn(move || {
                while source.counts().received < RECORDS {
                    source.publish(sink);
                    // About as fast as a network.
                    thread::sleep(Duration::from_micros(500));
                }
            });
        }
        wait_for("a fifth of the records is delivered", || ledgers[0].counts().delivered > RECORDS / 5);
        kafka.kill();
        assert!(ledgers[0].counts().received < RECORDS, "the broker was killed after the end of the run");
        let killed = Instant::now();
        // The simulated outage.
        thread::sleep(Duration::from_secs(10).saturating_sub(killed.elapsed()));
        let counts = ledgers[0].counts();
        assert!(counts.in_flight + counts.spooled <= 64 && counts.delivered < RECORDS, "{counts:?}");
        assert!(!sink.health().connected && sink.health().last_error.is_some());
        kafka.restart()?;
        Ok(ledgers)
    })?;
    drain(&sink).await;
    let seen = read_all(&settings).await;
    for ledger in ledgers {
        let counts = ledger.counts();
        counts.check()?;
        assert_eq!(counts.delivered, RECORDS, "{}", ledger.camera());
        assert_eq!(seen[ledger.camera()], (0..RECORDS).collect::<Vec<_>>(), "{}", ledger.camera());
    }

    undelivered_records_expire_at_the_drain_deadline(&mut kafka).await;
    Ok(())
}

async fn topics_are_created_with_the_configured_partitions(kafka: &KafkaServer) -> anyhow::Result<()> {
    let mut settings = kafka.settings("created");
    settings.partitions = 5;
    let mut early = tokio::spawn({
        let settings = settings.clone();
        async move { RecordReader::open(&settings, &ReaderOptions::default()).await?.next().await }
    });
    let waits = tokio::time::timeout(Duration::from_secs(1), &mut early).await;
    assert!(waits.is_err(), "the topic does not exist yet: {waits:?}");

    let sink = KafkaSink::start(&settings)?;
    // Published before the topic exists.
    let mut gate = Source::live("gate");
    gate.publish(&sink);
    drain(&sink).await;
    assert_eq!(gate.counts().delivered, 1);
    let first = tokio::time::timeout(PATIENCE, early).await???;
    assert!(matches!(first, Some(ReadRecord::Frame(frame)) if frame.seq == 0));
    sink.report(&status("gate"));
    drain(&sink).await;
    let found = check(&settings, Duration::from_secs(10))?;
    assert_eq!(found.problem, None);
    assert_eq!(found.brokers, [kafka.bootstrap()]);
    assert_eq!(found.topics.iter().map(|t| t.partitions).collect::<Vec<_>>(), [Some(5), Some(5)]);
    Ok(())
}

async fn snapshots_have_a_retention_of_one_hour(kafka: &KafkaServer) -> anyhow::Result<()> {
    let settings = kafka.settings("images");
    let sink = KafkaSink::start_for(&settings, &[RecordKind::Frame, RecordKind::Snapshot])?;
    let mut gate = Source::live("gate");
    gate.publish(&sink);
    // Records are sent once all topics exist.
    drain(&sink).await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create()?;
    let topics = [&settings.topics.snapshots, &settings.topics.frames].map(|t| ResourceSpecifier::Topic(t));
    let described = admin.describe_configs(&topics, &AdminOptions::new()).await?;
    let mut retention = Vec::new();
    for topic in described {
        let topic = topic.map_err(|code| anyhow::anyhow!("{code:?}"))?;
        let value = |name| topic.get(name).and_then(|entry| entry.value.clone());
        retention.push([value("retention.ms"), value("segment.ms")]);
    }
    assert_eq!(retention[0], [Some("3600000".into()), Some("600000".into())]);
    assert_ne!(retention[1], retention[0], "frames have the broker's default retention");
    Ok(())
}

async fn undelivered_records_expire_at_the_drain_deadline(kafka: &mut KafkaServer) {
    let mut file = Source::lossless("file", 100);
    let sink = connected(&kafka.settings("drain"), &mut file).await;
    kafka.kill();
    for _ in 0..100 {
        file.publish(&sink);
    }
    let started = Instant::now();
    sink.drain(started + Duration::from_secs(1)).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    let counts = file.counts();
    assert_eq!((counts.delivered, counts.expired[&ExpireCause::Shutdown]), (1, 100));
}

#[tokio::test]
async fn failed_authentication_and_oversized_records_are_reported() -> anyhow::Result<()> {
    let _module = lock_module(MODULE);
    let overrides = [
        "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms=PLAIN",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"admin\" password=\"admin-secret\" user_admin=\"admin-secret\" user_edge=\"edge-secret\";",
        "message.max.bytes=20000",
    ];
    let client = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "edge"),
        ("sasl.password", "edge-secret"),
    ];
    let kafka = KafkaServer::start_with(&overrides, &client)?;
    let settings = kafka.settings("secure");

    let mut wrong = settings.clone();
    wrong.client.retain(|(key, _)| key != "sasl.password");
    wrong.client.push(("sasl.password".into(), lookout_config::Secret::new("no-such-secret")));
    let problem = check(&wrong, Duration::from_secs(20))?.problem.expect("a problem");
    assert!(problem.advice.contains("`sasl.password`"), "{problem:?}");
    assert!(!problem.what.contains("no-such-secret"), "{problem:?}");
    let sink = KafkaSink::start(&wrong)?;
    until("the sink reports the failure", || {
        sink.health().last_error.is_some_and(|e| e.contains("uthentication"))
    })
    .await;

    let mut plain = settings.clone();
    plain.client.clear();
    let problem = check(&plain, Duration::from_secs(3))?.problem.expect("a problem");
    assert!(problem.advice.contains("`security.protocol`"), "{problem:?}");

    limits::only_the_record_at_fault_is_rejected(settings).await;
    Ok(())
}

/// Grants everything that a pipeline needs; the tests then deny single operations.
fn grant(kafka: &KafkaServer, user: &str, prefix: &str) -> anyhow::Result<()> {
    let inner = kafka.inner().expect("no inner listener");
    for resource in [Resource::Topics(prefix), Resource::Groups(prefix), Resource::Cluster] {
        let (operation, permission) = (Operation::All, Permission::Allow);
        kafka_acls::add(&inner, &Right { user, resource, operation, permission })?;
    }
    Ok(())
}

#[tokio::test]
async fn no_record_is_lost_or_reordered_when_permissions_are_revoked_and_granted() -> anyhow::Result<()> {
    let _module = lock_module(MODULE);
    let kafka = KafkaServer::start_with_rights(&[("edge", "edge-secret")], &[])?;
    grant(&kafka, "edge", "rights")?;
    let settings = kafka.settings("rights");
    let inner = kafka.inner().expect("no inner listener");
    let mut file = Source::lossless("file", 200);
    let sink = connected(&settings, &mut file).await;
    let denied = |topic| Right {
        user: "edge",
        resource: Resource::Topic(topic),
        operation: Operation::Write,
        permission: Permission::Deny,
    };
    for (kind, topic) in
        [(RecordKind::Frame, &settings.topics.frames), (RecordKind::Status, &settings.topics.status)]
    {
        kafka_acls::add(&inner, &denied(topic))?;
        let reported_refusal = || sink.health().refused.into_iter().find(|(refused, _)| *refused == kind);
        // An ACL takes effect a moment after it was added or removed.
        until("the sink reports the refusal", || {
            if kind == RecordKind::Frame && file.counts().received < 200 {
                file.publish(&sink);
            }
            if kind == RecordKind::Status {
                sink.report(&status("file"));
            }
            reported_refusal().is_some()
        })
        .await;
        let (_, why) = reported_refusal().expect("the refusal is reported");
        assert!(why.contains(topic.as_str()) && why.contains("WRITE"), "{why}");
        kafka_acls::remove(&inner, &denied(topic))?;
        until("the sink no longer reports the refusal", || {
            if kind == RecordKind::Status {
                sink.report(&status("file"));
            }
            reported_refusal().is_none()
        })
        .await;
    }
    drain(&sink).await;
    let counts = file.counts();
    assert_eq!((counts.delivered, counts.expired.len()), (counts.published, 0));
    assert_eq!(read_all(&settings).await[file.ledger.camera()], (0..counts.published).collect::<Vec<_>>());

    // A reader that does not wait for permissions fails without the permission to read.
    kafka_acls::add(&inner, &Right { operation: Operation::Read, ..denied(&settings.topics.frames) })?;
    let refused = until_refused(&settings).await?;
    assert!(refused.contains("ACL `Read`") && refused.contains(&settings.topics.frames), "{refused}");
    Ok(())
}

/// Opens readers until one is refused: an ACL takes effect a moment after it was added.
async fn until_refused(settings: &KafkaSettings) -> anyhow::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let kinds = vec![RecordKind::Frame];
        let options = ReaderOptions { from: ReadFrom::Beginning, kinds, ..ReaderOptions::default() };
        let opened = RecordReader::open(settings, &options).await;
        let read = match opened {
            Ok(mut reader) => reader.next().await.map(drop),
            Err(error) => Err(error),
        };
        match read {
            Err(error) => return Ok(error.to_string()),
            Ok(()) => anyhow::ensure!(Instant::now() < deadline, "the topic can still be read"),
        }
    }
}

#[tokio::test]
async fn no_record_is_lost_or_reordered_in_a_rolling_restart() -> anyhow::Result<()> {
    let _module = lock_module(MODULE);
    let mut kafka = KafkaCluster::start(&[("edge", "edge-secret")], &[])?;
    grant(&kafka.nodes[0], "edge", "three")?;
    let settings = kafka.settings("three").expect("nodes");
    let mut files: Vec<Source> = ["a", "b", "c", "d"].map(|id| Source::lossless(id, 500)).into();
    let sink = connected(&settings, &mut files[0]).await;
    let mut publish = |count: u64| {
        for _ in 0..count {
            files.iter_mut().for_each(|file| file.publish(&sink));
        }
    };
    for node in 0..3 {
        publish(100);
        kafka.nodes[node].stop()?;
        publish(100);
        kafka.nodes[node].move_away()?;
        kafka.nodes[node].restart()?;
        drain(&sink).await;
    }
    let moved = kafka.settings("three").expect("nodes");
    let seen = read_all(&moved).await;
    for file in &files {
        let counts = file.counts();
        assert_eq!((counts.delivered, counts.expired.len()), (counts.published, 0));
        assert_eq!(seen[file.ledger.camera()], (0..counts.published).collect::<Vec<_>>());
    }
    Ok(())
}

async fn reconnects_through_the_bootstrap_address_when_the_broker_moves(
    kafka: &mut KafkaServer,
) -> anyhow::Result<()> {
    let front = Forwarder::start(&kafka.bootstrap());
    let settings = KafkaSettings { brokers: Brokers::Servers(front.address()), ..kafka.settings("moves") };
    let mut file = Source::lossless("file", 100);
    let sink = connected(&settings, &mut file).await;
    let mut reader = RecordReader::open(&settings, &ReaderOptions::default()).await?;
    kafka.kill();
    front.lead_to(None);
    until("the sink reports the lost connection", || !sink.health().connected).await;
    kafka.move_away()?;
    kafka.restart()?;
    front.lead_to(Some(&kafka.bootstrap()));
    for _ in 1..100 {
        file.publish(&sink);
    }
    until("all records are delivered", || file.counts().delivered == 100).await;
    let read = async {
        loop {
            if let Some(ReadRecord::Frame(frame)) = reader.next().await?
                && frame.seq == 99
            {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await?
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
