//! Reads records from Kafka and checks the invariants of each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{FrameRecord, SessionId, StatusRecord};
use tokio::time::timeout_at;

/// Reads frame and status records from the start of their topics.
#[derive(Debug)]
pub struct Records {
    reader: RecordReader,
    pub statuses: Vec<StatusRecord>,
}

impl Records {
    pub async fn open(kafka: &KafkaSettings) -> Result<Self> {
        let options = ReaderOptions { from: ReadFrom::Beginning, ..ReaderOptions::default() };
        Ok(Self { reader: RecordReader::open(kafka, &options).await?, statuses: Vec::new() })
    }

    /// Returns the next frame record, which must come within `patience`.
    pub async fn frame(&mut self, patience: Duration) -> Result<FrameRecord> {
        let deadline = Instant::now() + patience;
        loop {
            let record = timeout_at(deadline.into(), self.reader.next());
            let record = record.await.with_context(|| format!("no record within {patience:?}"))??;
            match record.context("the topics have an end")? {
                ReadRecord::Frame(frame) => {
                    check(&frame)?;
                    return Ok(*frame);
                }
                ReadRecord::Status(status) => self.statuses.push(*status),
                other => anyhow::bail!("{other:?}"),
            }
        }
    }

    /// Returns the first frame record for which `wanted` is true.
    pub async fn frame_where(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&FrameRecord) -> bool,
    ) -> Result<FrameRecord> {
        let deadline = Instant::now() + patience;
        loop {
            let frame = self.frame(deadline.saturating_duration_since(Instant::now())).await?;
            if wanted(&frame) {
                return Ok(frame);
            }
        }
    }
}

/// Checks the invariants of every frame record.
fn check(frame: &FrameRecord) -> Result<()> {
    ensure!(frame.schema == FrameRecord::SCHEMA, "{frame:?}");
    ensure!(frame.source.width > 0 && frame.source.height > 0, "{frame:?}");
    ensure!(frame.age_ms == frame.published_at.ms_since(frame.captured_at), "{frame:?}");
    for seen in &frame.detections {
        ensure!(seen.bbox.clipped(frame.source) == Some(seen.bbox), "{seen:?} in {:?}", frame.source);
        ensure!((0.0..=1.0).contains(&seen.score) && !seen.label.is_empty(), "{seen:?}");
    }
    let scores: Vec<f32> = frame.classes.iter().map(|class| class.score).collect();
    ensure!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().sum::<f32>() <= 1.01, "{scores:?}");
    Ok(())
}

/// Returns the sequence numbers in the order of their records, by camera and session.
pub fn by_session(frames: &[FrameRecord]) -> BTreeMap<(String, SessionId), Vec<u64>> {
    let mut sessions: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for frame in frames {
        sessions.entry((frame.camera.to_string(), frame.session)).or_default().push(frame.seq);
    }
    sessions
}
