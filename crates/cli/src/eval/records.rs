//! What the worker publishes while it is watched.

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{FrameRecord, RecordKind};
use tokio::time::{Instant, timeout_at};

use super::programs::{Worker, WorkerSummary};

/// How often it is seen to whether the worker still runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is watched, and for how long from when all of it is seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) cameras: usize,
    pub(super) seconds: u64,
}

/// All records of the watched time, and what the worker says at its end.
pub(super) async fn read(
    kafka: &KafkaSettings,
    watch: &Watch,
    mut worker: Worker,
) -> anyhow::Result<(Vec<FrameRecord>, WorkerSummary)> {
    let options = |until_end| ReaderOptions {
        from: ReadFrom::Beginning,
        kinds: vec![RecordKind::Frame],
        until_end,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(kafka, &options(false)).await?;
    let mut seen = BTreeSet::new();
    // Until the last camera's first record, however long that takes a slow machine: the worker says what it waits for.
    let mut end = None;
    while end.is_none_or(|end| Instant::now() < end) {
        let soon = Instant::now() + LOOK_EVERY;
        let until = end.map_or(soon, |end| soon.min(end));
        if let Ok(next) = timeout_at(until, reader.next()).await
            && let Some(ReadRecord::Frame(frame)) = next?
        {
            seen.insert(frame.camera.clone());
        }
        if end.is_none() && seen.len() == watch.cameras {
            end = Some(Instant::now() + Duration::from_secs(watch.seconds));
        }
        if worker.has_ended() {
            bail!(
                "the worker ended before the time was over; records of {} of {} cameras had come",
                seen.len(),
                watch.cameras
            );
        }
    }
    let summary = worker.stop()?;
    drop(reader);
    // All of it, the last ones too, which came while the worker drained.
    let mut reader = RecordReader::open(kafka, &options(true)).await?;
    let mut frames = Vec::new();
    while let Some(record) = reader.next().await? {
        match record {
            ReadRecord::Frame(frame) => frames.push(*frame),
            ReadRecord::Unreadable { reason, .. } => bail!("a record cannot be read: {reason}"),
            _ => {}
        }
    }
    Ok((frames, summary))
}
