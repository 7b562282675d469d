//! Recordings of JSON and Protobuf records, and their replay.

use std::collections::BTreeMap;

use lookout_broker::{
    Embedded, KafkaSink, Merge, OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions, RecordReader, Recorded,
    Recording, RecordingWriter, Replayer,
};
use lookout_config::KafkaSettings;
use lookout_schema::{RecordFormat, RecordKind, Topics};
use lookout_stage::RecordSink;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{
    common::{PATIENCE, Source, drain, read_all, status},
    settings::settings,
};

/// Returns a cluster with records from a sink of each format, and one foreign message.
async fn written() -> Embedded {
    let cluster = Embedded::start(&settings("")).unwrap();
    let mut sources = [Source::live("gate"), Source::live("yard")];
    for format in RecordFormat::ALL {
        let sink = KafkaSink::start(&KafkaSettings { format, ..cluster.settings().clone() }).unwrap();
        for _ in 0..20 {
            sources.iter_mut().for_each(|source| source.publish(&sink));
        }
        sink.report(&status("gate"));
        drain(&sink).await;
    }
    let stranger: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some(&[0xFF, 0x00]) })
        .insert(Header { key: "none", value: None::<&[u8]> });
    let frames = &cluster.settings().topics.frames;
    let message =
        BaseRecord::<[u8], [u8]>::to(frames).payload(&[0x00, 0xFF]).timestamp(1_000).headers(headers);
    stranger.send(message.partition(1)).unwrap();
    stranger.flush(PATIENCE).unwrap();
    cluster
}

async fn messages(settings: &KafkaSettings) -> (Vec<Recorded>, BTreeMap<RecordKind, u16>) {
    let options = ReaderOptions {
        from: ReadFrom::Beginning,
        until_end: true,
        missing: OnMissingTopic::Follow,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(settings, &options).await.unwrap();
    let mut messages = Vec::new();
    while let Some((placed, message)) = reader.next_recorded().await.unwrap() {
        assert_eq!((placed.kind, placed.offset), (message.kind, message.offset));
        let unreadable = matches!(placed.record, ReadRecord::Unreadable { .. });
        assert_eq!(unreadable, message.key.is_none(), "{placed:?}");
        messages.push(message);
    }
    messages.sort_by_key(|message| (message.kind, message.partition, message.offset));
    (messages, reader.partitions())
}

#[tokio::test]
async fn a_reader_reads_json_and_protobuf_mixed() {
    let cluster = written().await;
    let (messages, _) = messages(cluster.settings()).await;
    let starting_with =
        |byte: u8| messages.iter().filter(|m| m.value.as_deref().is_some_and(|v| v[0] == byte)).count();
    // 20 frames of each of two cameras, and one status record.
    assert_eq!((starting_with(b'{'), starting_with(0x0A)), (41, 41));
    let seen = messages.iter().filter(|message| message.kind == RecordKind::Frame && message.key.is_some());
    assert_eq!(seen.count(), 80);
}

#[tokio::test]
async fn a_replayed_recording_has_the_same_messages() {
    let cluster = written().await;
    let (was, partitions) = messages(cluster.settings()).await;
    assert_eq!(partitions, [(RecordKind::Frame, 3), (RecordKind::Status, 3)].into());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.jsonl.zst");
    let mut writer = RecordingWriter::create(&file, &partitions).unwrap();
    was.iter().for_each(|message| writer.write(message).unwrap());
    writer.finish().unwrap();

    let other =
        Embedded::start(&KafkaSettings { topics: Topics::new("again").unwrap(), ..settings("") }).unwrap();
    let mut recording = Recording::open(&file).unwrap();
    let mut replayer = Replayer::start(other.settings(), recording.partitions()).unwrap();
    let mut merge = Merge::default();
    while let Some(message) = recording.next_message().unwrap() {
        merge.push(message);
    }
    let mut latest = i64::MIN;
    while let Some(due) = merge.pop_last() {
        assert!(due.at_ms >= latest);
        latest = due.at_ms;
        replayer.send(&due.message).await.unwrap();
    }
    replayer.finish().await.unwrap();
    let (is, _) = messages(other.settings()).await;
    // The message without a key may be written to any partition, and so shifts the offsets there.
    let keyed = |messages: Vec<Recorded>| -> Vec<Recorded> {
        let kept = messages.into_iter().filter(|message| message.key.is_some());
        kept.map(|message| Recorded { offset: 0, ..message }).collect()
    };
    let strange = |messages: &[Recorded]| {
        let found = messages.iter().find(|message| message.key.is_none()).unwrap().clone();
        Recorded { partition: 0, offset: 0, ..found }
    };
    assert_eq!(strange(&is), strange(&was));
    assert_eq!(strange(&is).headers.len(), 2);
    assert_eq!(keyed(is), keyed(was));
}

#[tokio::test]
async fn a_replay_keeps_the_order_of_a_cameras_records() {
    let cluster = Embedded::start(&settings("")).unwrap();
    let sink =
        KafkaSink::start(&KafkaSettings { format: RecordFormat::Protobuf, ..cluster.settings().clone() })
            .unwrap();
    let mut source = Source::live("gate");
    for _ in 0..50 {
        source.publish(&sink);
    }
    drain(&sink).await;
    let (was, _) = messages(cluster.settings()).await;
    // A cluster with fewer partitions than the recording.
    let other = Embedded::start(&KafkaSettings { partitions: 1, ..settings("") }).unwrap();
    let mut replayer = Replayer::start(other.settings(), &BTreeMap::new()).unwrap();
    for message in &was {
        replayer.send(message).await.unwrap();
    }
    replayer.finish().await.unwrap();
    let seen = read_all(other.settings()).await;
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [(0..50).collect::<Vec<u64>>()]);
}
