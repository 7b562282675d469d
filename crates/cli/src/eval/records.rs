//! The records that the worker publishes during the measurement.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, Clock, FrameRecord, RecordKind};
use tokio::time::{Instant, timeout_at};

use super::programs::{Worker, WorkerSummary};

/// Interval of the checks whether the worker is still running.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The cameras and the duration of the measurement, which starts when all cameras have a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) cameras: usize,
    pub(super) seconds: u64,
    /// Minimum number of records per camera that have a time of the camera's clock. The measurement is
    /// extended until they have arrived.
    pub(super) frames: u64,
}

/// Returns all records of the measurement, and the worker's summary.
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
    // The number of records per camera that have a time of the camera's clock.
    let mut seen = BTreeMap::<CameraId, u64>::new();
    // The end is set at the first record of the last camera. On a slow machine this can take long; the
    // worker's log has the reason.
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
    // All records are read again, including those that were published while the worker drained.
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
