//! Per-minute statistics of a camera.

use std::collections::BTreeMap;

use lookout_schema::{Clock, FrameRecord, Timestamp};
use serde::{Deserialize, Serialize};

/// The sums over one minute of a camera.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Minutes since 1970.
    pub(crate) minute: i64,
    pub(crate) frames: u64,
    /// The sum of the ages and the number of frames in it. Only live frames have an age.
    pub(crate) age_ms_sum: i64,
    pub(crate) aged: u64,
    pub(crate) dropped: u64,
    /// Number of objects, or of classes, over all frames, by label.
    pub(crate) labels: BTreeMap<String, u64>,
}

/// The maximum number of labels per minute with their own count. It bounds memory if a writer invents labels.
const MAX_LABELS: usize = 64;
/// The label under which all other labels are counted.
const OTHER: &str = "(other)";

const MINUTE_US: i64 = 60_000_000;

/// Returns the minute of a frame. A file's capture times are its stream time, so its frames belong to the
/// minute in which they were published.
pub(crate) fn minute(frame: &FrameRecord) -> i64 {
    let at = if frame.clock == Clock::File { frame.published_at } else { frame.captured_at };
    minute_of(at)
}

pub(crate) fn minute_of(at: Timestamp) -> i64 {
    at.as_unix_us().div_euclid(MINUTE_US)
}

pub(crate) fn start_of(minute: i64) -> Timestamp {
    Timestamp::from_unix_us(minute.saturating_mul(MINUTE_US))
}

impl Bucket {
    pub(crate) fn new(minute: i64) -> Self {
        Self { minute, ..Self::default() }
    }

    pub(crate) fn add(&mut self, frame: &FrameRecord, counts: &BTreeMap<String, u64>) {
        self.frames += 1;
        if frame.clock != Clock::File {
            self.age_ms_sum = self.age_ms_sum.saturating_add(frame.age_ms);
            self.aged += 1;
        }
        for dropped in frame.dropped_before.values() {
            self.dropped = self.dropped.saturating_add(*dropped);
        }
        for (label, count) in counts {
            *slot(&mut self.labels, label) += count;
        }
    }

    /// Adds the counts of another bucket of the same minute.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.age_ms_sum = self.age_ms_sum.saturating_add(other.age_ms_sum);
        self.aged += other.aged;
        self.dropped = self.dropped.saturating_add(other.dropped);
        for (label, count) in &other.labels {
            *slot(&mut self.labels, label) += count;
        }
    }
}

fn slot<'a>(labels: &'a mut BTreeMap<String, u64>, label: &str) -> &'a mut u64 {
    if labels.len() >= MAX_LABELS && !labels.contains_key(label) {
        return labels.entry(OTHER.into()).or_default();
    }
    labels.entry(label.to_owned()).or_default()
}

/// Returns the number of objects per label in a frame: its detections with a score of at least `least`, or
/// its first class.
pub(crate) fn counts(frame: &FrameRecord, least: f32) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for seen in frame.detections.iter().filter(|seen| seen.score >= least) {
        *slot(&mut counts, &seen.label) += 1;
    }
    if let Some(first) = frame.classes.first() {
        *slot(&mut counts, &first.label) += 1;
    }
    counts
}
