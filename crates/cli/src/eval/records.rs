//! What the worker publishes while it is watched.

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{FrameRecord, RecordKind};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    PATIENCE,
    programs::{Worker, WorkerSummary},
};

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
    let mut end = Instant::now() + PATIENCE;
    let mut watching = false;
    while let Ok(next) = timeout_at(end, reader.next()).await {
        if let Some(ReadRecord::Frame(frame)) = next? {
            seen.insert(frame.camera.clone());
        }
        if !watching && seen.len() == watch.cameras {
            watching = true;
            end = Instant::now() + Duration::from_secs(watch.seconds);
        }
        if worker.has_ended() {
            bail!("the worker ended before the time was over");
        }
    }
    if !watching {
        bail!("after {} s only {} of {} cameras were seen", PATIENCE.as_secs(), seen.len(), watch.cameras);
    }
    sleep_until(end).await;
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
