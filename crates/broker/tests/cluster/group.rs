//! Consumers that share the frames' topic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use lookout_broker::{Embedded, GroupEvent, GroupReader, KafkaSink, ReadRecord};
use lookout_config::KafkaSettings;

use crate::{
    common::{PATIENCE, Source, drain},
    settings::settings,
};

/// Members take turns until `seen` says that it is enough: each member's frames, by camera.
async fn heard_by(
    members: &mut [GroupReader],
    mut enough: impl FnMut(&[BTreeMap<String, Vec<u64>>]) -> bool,
) -> Vec<BTreeMap<String, Vec<u64>>> {
    let mut seen = vec![BTreeMap::<String, Vec<u64>>::new(); members.len()];
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !enough(&seen) {
        assert!(tokio::time::Instant::now() < deadline, "timed out, records so far: {seen:?}");
        for (member, seen) in members.iter_mut().zip(&mut seen) {
            let heard = tokio::time::timeout(Duration::from_millis(50), member.next()).await;
            if let Ok(heard) = heard
                && let GroupEvent::Record(placed) = heard.unwrap()
                && let ReadRecord::Frame(frame) = placed.record
            {
                seen.entry(frame.camera.to_string()).or_default().push(frame.seq);
            }
        }
    }
    seen
}

async fn publish(settings: &KafkaSettings, sources: &mut [Source], times: usize) {
    let sink = KafkaSink::start(settings).unwrap();
    for _ in 0..times {
        sources.iter_mut().for_each(|source| source.publish(&sink));
    }
    drain(&sink).await;
}

fn frames(seen: &BTreeMap<String, Vec<u64>>) -> usize {
    seen.values().map(Vec::len).sum()
}

#[tokio::test]
async fn a_member_resumes_at_the_committed_offsets() {
    let cluster = Embedded::start(&settings("")).unwrap();
    let mut sources: Vec<Source> = ["a", "b", "c", "d"].map(Source::live).into();
    publish(cluster.settings(), &mut sources, 50).await;
    let mut first = [GroupReader::join(cluster.settings(), "vans").unwrap()];
    // What was there before the group is not read; what comes is, once it has found its place.
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    while last.len() < 4 {
        publish(cluster.settings(), &mut sources, 1).await;
        let mut turns = 0;
        let seen = heard_by(&mut first, |_| {
            turns += 1;
            turns > 8
        });
        for (camera, seqs) in &seen.await[0] {
            assert!(
                seqs[0] >= 50 && last.get(camera).is_none_or(|last| seqs[0] == last + 1),
                "{camera} {seqs:?}"
            );
            last.insert(camera.clone(), seqs[seqs.len() - 1]);
        }
    }
    drop(first);

    publish(cluster.settings(), &mut sources, 2).await;
    let due = |source: &Source| source.counts().published - 1 - last[source.ledger.camera().as_str()];
    let due = sources.iter().map(due).sum::<u64>() as usize;
    let mut second = [GroupReader::join(cluster.settings(), "vans").unwrap()];
    let seen = heard_by(&mut second, |seen| frames(&seen[0]) >= due).await;
    for (camera, seqs) in &seen[0] {
        assert_eq!(seqs[0], last[camera] + 1, "{camera} {seqs:?}");
    }
}
