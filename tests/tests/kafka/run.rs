//! `lookout run` with a real Apache Kafka that is killed during the run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lookout_schema::Clock;
use lookout_tests::{
    isolation::lock_module,
    kafka::KafkaServer,
    program::{Running, run},
    records::{Records, by_session},
    video::{CLIP_FRAMES, clip},
};

const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn no_record_of_a_file_is_lost_or_duplicated_when_kafka_is_killed() {
    let _module = lock_module(module_path!());
    let mut kafka = KafkaServer::start().unwrap();
    let brokers = kafka.bootstrap();
    // Few frames in flight, so that most are still to be published when Kafka is killed.
    let lines = format!(
        "[kafka]\nbrokers = \"{brokers}\"\ntopic_prefix = \"outage\"\npartitions = 3\nreplication = 1\n\
         [[camera]]\nid = \"clip\"\nuri = {:?}\nmax_in_flight = 32",
        clip()
    );
    let mut running = Running::start(&lines).unwrap();
    let mut records = Records::open(&kafka.settings("outage")).await.unwrap();
    let mut frames = Vec::new();
    while frames.len() < 100 {
        frames.push(records.frame(PATIENCE).await.unwrap());
    }
    kafka.kill();
    let back_at = Instant::now() + Duration::from_secs(10);
    let not_ready = |running: &Running| running.page("/readyz").filter(|(code, _)| *code == 503);
    let (_, why) = running.until("it is not ready", Duration::from_secs(10), not_ready).unwrap();
    assert!(why.contains("kafka: "), "{why}");
    while Instant::now() < back_at {
        assert!(running.is_running().unwrap(), "{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kafka.restart().unwrap();
    while frames.len() < CLIP_FRAMES as usize {
        frames.push(records.frame(PATIENCE).await.unwrap());
    }
    let ended = running.finish(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.summary.check().unwrap();
    assert_eq!(ended.summary.cameras["clip"].delivered, CLIP_FRAMES);

    // A new reader finds every frame in Kafka, once and in order.
    let mut anew = Records::open(&kafka.settings("outage")).await.unwrap();
    let mut kept = Vec::new();
    while let Ok(frame) = anew.frame(Duration::from_secs(3)).await {
        kept.push(frame);
    }
    let sessions = by_session(&kept);
    assert_eq!(sessions.len(), 1);
    assert!(sessions.values().all(|seqs| seqs.iter().copied().eq(0..CLIP_FRAMES)), "{sessions:?}");
    assert!(kept.iter().all(|frame| frame.clock == Clock::File && frame.dropped_before == BTreeMap::new()));

    tail_reads_all_records(&brokers);
}

fn tail_reads_all_records(brokers: &str) {
    let output = run(&["tail", "--brokers", brokers, "--topic-prefix", "outage", "--until-end"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), CLIP_FRAMES as usize);
    let first = text.lines().next().unwrap();
    assert!(first.contains(" clip #0 file, "), "{first}");
    let nowhere = run(&["tail", "--brokers", brokers, "--topic-prefix", "nowhere", "--until-end"]).unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no topic `nowhere.frames.v1`"));
}
