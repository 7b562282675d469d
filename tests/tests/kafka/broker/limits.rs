//! Records that the broker refuses: batches or records beyond its limits, and timestamps.

use lookout_broker::KafkaSink;
use lookout_config::KafkaSettings;
use lookout_schema::ExpireCause;
use lookout_tests::{isolation::lock_module, kafka::KafkaServer};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};

use crate::common::{Source, connected, drain, read_all, until};

/// Sets a topic setting; also works while the topic is written.
async fn alter_topic(kafka: &KafkaServer, topic: &str, key: &str, value: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create()?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    for altered in admin.alter_configs(&[change], &AdminOptions::new()).await? {
        altered.map_err(|(_, code)| anyhow::anyhow!("{code:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn batches_beyond_the_topics_limit_are_split_in_order() -> anyhow::Result<()> {
    let _module = lock_module(super::MODULE);
    let mut kafka = KafkaServer::start()?;
    let settings = kafka.settings("small");
    // The topics are created before their limit is lowered.
    let mut first = Source::live("first");
    drop(connected(&settings, &mut first).await);
    alter_topic(&kafka, &settings.topics.frames, "max.message.bytes", "10000").await?;

    // First a limit that is known from the start, then one that is lowered while records wait.
    let ids = ["a", "b", "c", "d", "e", "f"];
    let mut files: Vec<Source> = ids.map(|id| Source::lossless(id, 2000)).into();
    let sink = KafkaSink::start(&settings)?;
    for limit in ["10000", "4000"] {
        drain(&sink).await;
        alter_topic(&kafka, &settings.topics.frames, "max.message.bytes", limit).await?;
        kafka.kill();
        for _ in 0..300 {
            files.iter_mut().for_each(|file| file.publish_with(&sink, &incompressible(500)));
        }
        kafka.restart()?;
    }
    drain(&sink).await;
    let seen = read_all(&settings).await;
    for file in &files {
        let counts = file.counts();
        assert_eq!((counts.delivered, counts.expired.len()), (600, 0), "{}", file.ledger.camera());
        assert_eq!(seen[file.ledger.camera()], (0..600).collect::<Vec<_>>(), "{}", file.ledger.camera());
    }
    records_of_a_file_survive_a_refusal_of_their_timestamps(&kafka).await?;
    super::reconnects_through_the_bootstrap_address_when_the_broker_moves(&mut kafka).await
}

async fn records_of_a_file_survive_a_refusal_of_their_timestamps(kafka: &KafkaServer) -> anyhow::Result<()> {
    let settings = kafka.settings("clock");
    let mut file = Source::lossless("file", 50);
    let sink = connected(&settings, &mut file).await;
    // A refusal as from a broker whose clock is ahead.
    let key = "message.timestamp.before.max.ms";
    alter_topic(kafka, &settings.topics.frames, key, "0").await?;
    until("the sink reports the refusal", || {
        if file.counts().received < 50 {
            file.publish(&sink);
        }
        sink.health().refused.iter().any(|(_, why)| why.contains("InvalidTimestamp") && why.contains("NTP"))
    })
    .await;
    alter_topic(kafka, &settings.topics.frames, key, "9223372036854775807").await?;
    drain(&sink).await;
    let counts = file.counts();
    assert_eq!((counts.delivered, counts.expired.len()), (counts.published, 0));
    assert_eq!(sink.health().refused, []);
    Ok(())
}

/// The broker refuses whole batches, so the sink has to find the record at fault.
pub(super) async fn only_the_record_at_fault_is_rejected(settings: KafkaSettings) {
    let (mut gate, mut yard) = (Source::live("gate"), Source::lossless("yard", 100));
    let sink = connected(&settings, &mut gate).await;
    for _ in 0..20 {
        yard.publish(&sink);
    }
    gate.publish_with(&sink, &incompressible(40_000));
    for _ in 0..20 {
        gate.publish(&sink);
        yard.publish(&sink);
    }
    drain(&sink).await;
    assert_eq!((yard.counts().delivered, yard.counts().expired.len()), (40, 0));
    assert_eq!((gate.counts().delivered, gate.counts().expired[&ExpireCause::Rejected]), (21, 1));
    let seen = read_all(&settings).await;
    assert_eq!(seen[yard.ledger.camera()], (0..40).collect::<Vec<_>>());
}

/// Returns text that compresses badly.
fn incompressible(letters: usize) -> String {
    let mut state = 7u64;
    let mut next = || {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 32) as u8 % 64)
    };
    (0..letters).map(|_| next()).collect()
}
