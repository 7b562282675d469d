//! What the worker publishes while it is watched.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, Clock, FrameRecord, RecordKind};
use tokio::time::{Instant, timeout_at};

use super::programs::{Worker, WorkerSummary};

/// How often it is seen to whether the worker still runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is watched, and for how long from when all of it is seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) cameras: usize,
    pub(super) seconds: u64,
    /// Records of each camera that are dated by its clock; it is watched for longer until they have come.
    pub(super) frames: u64,
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
    // Of each camera, its records that are dated by its clock.
    let mut seen = BTreeMap::<CameraId, u64>::new();
    // Until the last camera's first record, however long that takes a slow machine: the worker says what it waits for.
    let mut end = None;
    while end.is_none_or(|end| Instant::now() < end) || seen.values().any(|dated| *dated < watch.frames) {
        let soon = Instant::now() + LOOK_EVERY;
        let until = end.filter(|end| *end > Instant::now()).map_or(soon, |end| soon.min(end));
        if let Ok(next) = timeout_at(until, reader.next()).await
            && let Some(ReadRecord::Frame(frame)) = next?
        {
            *seen.entry(frame.camera).or_default() += u64::from(frame.clock == Clock::Rtcp);
        }
        if end.is_none() && seen.len() == watch.cameras {
            end = Some(Instant::now() + Duration::from_secs(watch.seconds));
        }
        if worker.has_ended() {
            bail!(
                "the worker exited during the measurement; records of {} of {} cameras had arrived",
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
            ReadRecord::Unreadable { reason, .. } => bail!("unreadable record: {reason}"),
            _ => {}
        }
    }
    Ok((frames, summary))
}
