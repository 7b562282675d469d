//! Consumers on a real Apache Kafka under production conditions: transactional producers, topics that are
//! recreated or extended by partitions, deleted records, and permissions and passwords that are revoked and
//! restored.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lookout_broker::{
    GroupEvent, GroupReader, KafkaSink, Offsets, OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions,
    RecordReader, RecordWithOffset, Refused, TopicIds, check,
};
use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use lookout_tests::{isolation::lock_module, kafka::KafkaServer};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::common::{PATIENCE, Source, drain};

fn options(from: ReadFrom, until_end: bool) -> ReaderOptions {
    ReaderOptions {
        from,
        kinds: vec![RecordKind::Frame, RecordKind::Status],
        until_end,
        missing: OnMissingTopic::Follow,
        refused: Refused::Wait,
        ..ReaderOptions::default()
    }
}

fn admin(kafka: &KafkaServer) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    for (key, value) in kafka.settings("x").client {
        config.set(key, value.reveal());
    }
    config.create().unwrap()
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    partitions: i32,
    config: &[(&str, &str)],
) {
    // A deleted topic disappears a moment later.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = config.iter().fold(new, |new, (key, value)| new.set(key, value));
        let results = admin.create_topics(&[new], &AdminOptions::new()).await.unwrap();
        match &results[0] {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn publish(sink: &KafkaSink, source: &mut Source, times: usize) {
    (0..times).for_each(|_| source.publish(sink));
    drain(sink).await;
}

async fn next(reader: &mut RecordReader) -> RecordWithOffset {
    tokio::time::timeout(PATIENCE, reader.next_with_offset()).await.unwrap().unwrap().unwrap()
}

/// Returns the sequence numbers of the next `count` frames.
async fn frames(reader: &mut RecordReader, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        if let ReadRecord::Frame(frame) = next(reader).await.record {
            seqs.push(frame.seq);
        }
    }
    seqs
}

#[tokio::test]
async fn readers_survive_production_conditions() {
    let _module = lock_module(module_path!());
    let kafka = KafkaServer::start().unwrap();
    a_reader_stops_at_the_end_of_a_topic_with_transactions(&kafka).await;
    added_partitions_are_read(&kafka).await;
    a_recreated_topic_is_read_from_its_start(&kafka).await;
    a_group_reads_a_recreated_topic_from_its_start(&kafka).await;
    records_deleted_before_they_were_read_are_counted(&kafka).await;
    doctor_warns_of_a_compacted_topic(&kafka).await;
}

async fn a_reader_stops_at_the_end_of_a_topic_with_transactions(kafka: &KafkaServer) {
    let settings = kafka.settings("transactions");
    let admin = admin(kafka);
    for kind in [RecordKind::Frame, RecordKind::Status] {
        create(&admin, settings.topics.of(kind), 2, &[]).await;
    }
    let mut source = Source::live("gate");
    let sink = KafkaSink::start(&settings).unwrap();
    publish(&sink, &mut source, 3).await;
    // Records of a transactional producer, such as a stream processor: one transaction is committed, two are
    // aborted.
    let written = read_to_end(&settings).await;
    assert_eq!(written.len(), 3);
    let frames_topic = settings.topics.frames.clone();
    let brokers = kafka.bootstrap();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", "processor")
            .create()
            .unwrap();
        let patience = Duration::from_secs(60);
        producer.init_transactions(patience).unwrap();
        for commits in [false, true, false] {
            producer.begin_transaction().unwrap();
            for partition in 0..2 {
                let record = BaseRecord::<[u8], [u8]>::to(&frames_topic)
                    .partition(partition)
                    .payload(b"of a transaction");
                producer.send(record).unwrap();
            }
            producer.flush(patience).unwrap();
            if commits {
                producer.commit_transaction(patience).unwrap();
            } else {
                producer.abort_transaction(patience).unwrap();
            }
        }
    })
    .await
    .unwrap();
    let read = read_to_end(&settings).await;
    let unreadable =
        read.iter().filter(|placed| matches!(placed.record, ReadRecord::Unreadable { .. })).count();
    assert_eq!((read.len(), unreadable), (5, 2), "{read:?}");
}

/// Returns all records, with a reader that stops at the end.
async fn read_to_end(settings: &KafkaSettings) -> Vec<RecordWithOffset> {
    let mut reader = RecordReader::open(settings, &options(ReadFrom::Beginning, true)).await.unwrap();
    let mut read = Vec::new();
    while let Some(placed) = tokio::time::timeout(PATIENCE, reader.next_with_offset())
        .await
        .expect("the reader does not end")
        .unwrap()
    {
        read.push(placed);
    }
    read
}

async fn added_partitions_are_read(kafka: &KafkaServer) {
    let settings = kafka.settings("added");
    let admin = admin(kafka);
    create(&admin, &settings.topics.frames, 1, &[]).await;
    let sink = KafkaSink::start(&settings).unwrap();
    let mut source = Source::live("gate");
    // With the options of `lookout tail`.
    let waiting = ReaderOptions { kinds: vec![RecordKind::Frame], ..ReaderOptions::default() };
    let mut reader = RecordReader::open(&settings, &waiting).await.unwrap();
    let mut member = GroupReader::join(&settings, "added").unwrap();
    publish(&sink, &mut source, 1).await;
    frames(&mut reader, 1).await;
    until_read(&sink, &mut source, &mut member).await;
    admin
        .create_partitions(&[NewPartitions::new(&settings.topics.frames, 5)], &AdminOptions::new())
        .await
        .unwrap();
    // Written before a consumer knows the new partitions.
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    for partition in 1..5 {
        let record =
            BaseRecord::<[u8], [u8]>::to(&settings.topics.frames).partition(partition).payload(b"early");
        producer.send(record).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let mut due: Vec<i32> = (1..5).collect();
    while !due.is_empty() {
        let placed = next(&mut reader).await;
        due.retain(|partition| *partition != placed.partition);
    }
    assert_eq!(reader.partitions()[&RecordKind::Frame], 5);
    let mut due: Vec<i32> = (1..5).collect();
    let deadline = Instant::now() + PATIENCE;
    while !due.is_empty() {
        assert!(Instant::now() < deadline, "the group does not read {due:?}");
        if let Some(placed) = received(&mut member).await {
            due.retain(|partition| *partition != placed.partition);
        }
    }
}

/// The recreated topic has more records than the old one, so no offset is out of range.
async fn a_recreated_topic_is_read_from_its_start(kafka: &KafkaServer) {
    let settings = kafka.settings("recreated");
    let admin = admin(kafka);
    create(&admin, &settings.topics.frames, 2, &[]).await;
    let mut source = Source::live("gate");
    let mut reader = RecordReader::open(&settings, &options(ReadFrom::Beginning, false)).await.unwrap();
    publish(&KafkaSink::start(&settings).unwrap(), &mut source, 20).await;
    assert_eq!(frames(&mut reader, 20).await, (0..20).collect::<Vec<_>>());
    let before = reader.topic_ids().clone();
    assert!(before.contains_key(&RecordKind::Frame), "{before:?}");
    admin.delete_topics(&[&settings.topics.frames], &AdminOptions::new()).await.unwrap();
    create(&admin, &settings.topics.frames, 3, &[]).await;
    let mut again = Source::live("gate");
    publish(&KafkaSink::start(&settings).unwrap(), &mut again, 60).await;
    let first = next(&mut reader).await;
    assert!(first.offsets_restart && first.offset == 0, "{first:?}");
    assert_eq!(frames(&mut reader, 59).await, (1..60).collect::<Vec<_>>());
    assert_ne!(reader.topic_ids(), &before);

    // A reader that was stopped before, and resumes from its saved offsets.
    let place: Offsets = (0..2).map(|partition| ((RecordKind::Frame, partition), 20)).collect();
    let kept = |ids: &TopicIds| options(ReadFrom::Offsets(place.clone(), ids.clone()), false);
    let mut other = RecordReader::open(&settings, &kept(&before)).await.unwrap();
    let first = next(&mut other).await;
    assert!(first.offsets_restart && first.offset == 0, "{first:?}");
    let mut same = RecordReader::open(&settings, &kept(reader.topic_ids())).await.unwrap();
    let placed = next(&mut same).await;
    assert!(!placed.offsets_restart && placed.offset == 20, "{placed:?}");
}

async fn a_group_reads_a_recreated_topic_from_its_start(kafka: &KafkaServer) {
    let settings = kafka.settings("recreated-group");
    let admin = admin(kafka);
    create(&admin, &settings.topics.frames, 1, &[]).await;
    let mut source = Source::live("gate");
    let mut member = GroupReader::join(&settings, "recreated").unwrap();
    let sink = KafkaSink::start(&settings).unwrap();
    until_read(&sink, &mut source, &mut member).await;
    drop(sink);
    admin.delete_topics(&[&settings.topics.frames], &AdminOptions::new()).await.unwrap();
    create(&admin, &settings.topics.frames, 1, &[]).await;
    let mut again = Source::live("gate");
    let records = source.counts().published as usize + 40;
    publish(&KafkaSink::start(&settings).unwrap(), &mut again, records).await;
    let mut read: BTreeMap<i64, bool> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while read.len() < records {
        assert!(Instant::now() < deadline, "{} of {records} were read: {read:?}", read.len());
        if let Some(placed) = received(&mut member).await {
            *read.entry(placed.offset).or_default() |= placed.offsets_restart;
        }
    }
    assert_eq!(read.values().filter(|offsets_restart| **offsets_restart).count(), 1, "{read:?}");
    assert!(read[&0], "{read:?}");
    while let Some(trouble) = member.trouble(Instant::now()).map(str::to_owned) {
        assert!(Instant::now() < deadline, "{trouble}");
        received(&mut member).await;
    }
}

async fn records_deleted_before_they_were_read_are_counted(kafka: &KafkaServer) {
    let settings = kafka.settings("deleted");
    let admin = admin(kafka);
    create(&admin, &settings.topics.frames, 1, &[]).await;
    let mut source = Source::live("gate");
    publish(&KafkaSink::start(&settings).unwrap(), &mut source, 50).await;
    let mut up_to = TopicPartitionList::new();
    up_to.add_partition_offset(&settings.topics.frames, 0, Offset::Offset(30)).unwrap();
    admin.delete_records(&up_to, &AdminOptions::new()).await.unwrap();
    let places = Offsets::from([((RecordKind::Frame, 0), 10)]);
    let from = ReadFrom::Offsets(places, TopicIds::new());
    let mut reader = RecordReader::open(&settings, &options(from, false)).await.unwrap();
    assert_eq!(frames(&mut reader, 20).await, (30..50).collect::<Vec<_>>());
    assert_eq!(reader.lost(), &BTreeMap::from([(RecordKind::Frame, 20)]));
}

async fn doctor_warns_of_a_compacted_topic(kafka: &KafkaServer) {
    let settings = kafka.settings("compacted");
    let admin = admin(kafka);
    create(&admin, &settings.topics.frames, 1, &[("cleanup.policy", "compact")]).await;
    create(&admin, &settings.topics.status, 1, &[]).await;
    let found = check(&settings, Duration::from_secs(20)).unwrap();
    let problem = found.topics[0].problem.as_ref().expect("no problem was found");
    assert!(problem.what.contains("is compacted"), "{problem:?}");
    assert_eq!(found.topics[1].problem, None);
}

/// A restart of the broker revokes the permissions, or changes the password, and another restart restores
/// them.
#[tokio::test]
async fn readers_survive_revoked_permissions_and_changed_passwords() {
    let _module = lock_module(module_path!());
    let users = |edge: &str| {
        format!(
            "listener.name.plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required \
             username=\"admin\" password=\"admin-secret\" user_admin=\"admin-secret\" user_edge=\"{edge}\";"
        )
    };
    let (allowed, denied) =
        ("super.users=User:admin;User:ANONYMOUS;User:edge", "super.users=User:admin;User:ANONYMOUS");
    let own = users("edge-secret");
    let overrides = [
        "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms=PLAIN",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        allowed,
        &own,
    ];
    let client = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "edge"),
        ("sasl.password", "edge-secret"),
    ];
    let mut kafka = KafkaServer::start_with(&overrides, &client).unwrap();
    let settings = kafka.settings("flapping");
    let mut source = Source::live("gate");
    let sink = KafkaSink::start(&settings).unwrap();
    publish(&sink, &mut source, 1).await;
    let mut reader = RecordReader::open(&settings, &options(ReadFrom::Now, false)).await.unwrap();
    let mut member = GroupReader::join(&settings, "flapping").unwrap();
    until_read(&sink, &mut source, &mut member).await;
    drop(sink);
    until_troubles("reading", &mut reader, &mut member, |all| *all == [None, None]).await;
    for (what, away, back) in
        [("rights", denied.to_owned(), allowed.to_owned()), ("password", users("rotated"), own.clone())]
    {
        restart(&mut kafka, &away).await;
        let cause = if what == "rights" { "uthorization" } else { "uthentication" };
        until_troubles(what, &mut reader, &mut member, |all| {
            all.iter().all(|trouble| trouble.as_ref().is_some_and(|reason| reason.contains(cause)))
        })
        .await;
        restart(&mut kafka, &back).await;
        until_troubles(what, &mut reader, &mut member, |all| *all == [None, None]).await;
        let sink = KafkaSink::start(&settings).unwrap();
        publish(&sink, &mut source, 1).await;
        let last = source.counts().published - 1;
        while frames(&mut reader, 1).await != [last] {}
        until_read(&sink, &mut source, &mut member).await;
    }
}

/// Restarts Kafka with another setting, as an operator does who edits its configuration file.
async fn restart(kafka: &mut KafkaServer, setting: &str) {
    kafka.kill();
    kafka.set(setting);
    kafka.restart_unchecked().unwrap();
}

/// Polls both readers until `done` is true for their troubles.
async fn until_troubles(
    what: &str,
    reader: &mut RecordReader,
    member: &mut GroupReader,
    mut done: impl FnMut(&[Option<String>; 2]) -> bool,
) {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let read = tokio::time::timeout(Duration::from_millis(50), reader.next_with_offset()).await;
        assert!(!matches!(&read, Ok(Err(_))), "{what}: {read:?}");
        received(member).await;
        let now = Instant::now();
        let of_reader = reader.troubles(now).into_iter().next().map(|trouble| trouble.reason);
        let troubles = [of_reader, member.trouble(now).map(str::to_owned)];
        if done(&troubles) {
            return;
        }
        assert!(Instant::now() < deadline, "not in time: {what}: {troubles:?}");
    }
}

/// Publishes until the group has read a record. A new group reads only records that come after it has its
/// offsets.
async fn until_read(sink: &KafkaSink, source: &mut Source, member: &mut GroupReader) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        source.publish(sink);
        if received(member).await.is_some() {
            return;
        }
        assert!(Instant::now() < deadline, "nothing is read");
    }
}

async fn received(member: &mut GroupReader) -> Option<RecordWithOffset> {
    match tokio::time::timeout(Duration::from_millis(50), member.next()).await {
        Ok(Ok(GroupEvent::Record(placed))) => Some(placed),
        Ok(Ok(GroupEvent::Lost(_))) | Err(_) => None,
        Ok(Err(error)) => panic!("{error}"),
    }
}
