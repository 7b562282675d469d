//! Options of a reader: what is read, and from which offset.

use std::time::Duration;

use lookout_schema::{CameraId, RecordKind};
use lookout_wire::{Offsets, TopicIds};

use super::spans::Span;

/// The position at which reading starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record that the topics still have.
    Beginning,
    /// At the first record that is not older than this.
    Ago(Duration),
    /// At the end, so that only records that arrive after the reader was opened are read.
    #[default]
    Now,
    /// At the stored offset of each partition. At the oldest record if a partition has no stored offset, if the
    /// records there are gone, or if the topic no longer has the stored id.
    Offsets(Offsets, TopicIds),
}

/// Options of a [`RecordReader`](crate::RecordReader).
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Where reading starts.
    pub from: ReadFrom,
    /// The record kinds whose topics are read.
    pub kinds: Vec<RecordKind>,
    /// Stop at the offsets that were the end when the reader was opened, instead of waiting for more records. The
    /// topics are then read one after the other.
    pub until_end: bool,
    /// If set, only records of this camera are returned.
    pub camera: Option<CameraId>,
    /// How to handle a topic that does not exist.
    pub missing: OnMissingTopic,
    /// How to handle brokers that deny access.
    pub refused: Refused,
}

/// How to handle a topic that does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnMissingTopic {
    /// Wait for the topic before the first record is read, or fail if the reader is to stop at the end.
    #[default]
    Wait,
    /// Read the other topics now, and this topic from its beginning once it exists.
    Follow,
}

/// How to handle brokers that deny access. A password or a right may be missing, or may be granted soon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refused {
    /// Fail if nothing was read yet, which suits interactive use; retry afterwards.
    #[default]
    Fail,
    /// Retry until access is granted.
    Wait,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            from: ReadFrom::default(),
            kinds: vec![RecordKind::Frame, RecordKind::Status],
            until_end: false,
            camera: None,
            missing: OnMissingTopic::default(),
            refused: Refused::default(),
        }
    }
}

/// The start of reading in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: i64,
    /// Whether the stored offset belongs to records that no longer exist, or to another topic.
    pub(super) offsets_restart: bool,
    /// The number of records that were deleted before they were read.
    pub(super) lost: u64,
}

impl ReadFrom {
    pub(super) fn ago(&self) -> Option<Duration> {
        match self {
            Self::Ago(ago) => Some(*ago),
            Self::Beginning | Self::Now | Self::Offsets(..) => None,
        }
    }

    /// Returns where reading starts in the partition `span`, whose topic has the id `id`.
    pub(super) fn start(&self, kind: RecordKind, span: &Span, id: Option<&str>) -> Start {
        let at = |offset| Start { offset, offsets_restart: false, lost: 0 };
        match self {
            // The content of the registry follows only from all of its records.
            _ if kind == RecordKind::Camera => at(span.low),
            Self::Beginning => at(span.low),
            Self::Ago(_) => at(span.since.unwrap_or(span.high)),
            Self::Now => at(span.high),
            Self::Offsets(offsets, ids) => {
                let Some(offset) = offsets.get(&(kind, span.partition)).copied() else { return at(span.low) };
                let is_other = ids.get(&kind).zip(id).is_some_and(|(before, now)| before != now);
                if is_other || offset > span.high {
                    Start { offset: span.low, offsets_restart: true, lost: 0 }
                } else if offset < span.low {
                    Start {
                        offset: span.low,
                        offsets_restart: false,
                        lost: (span.low - offset).unsigned_abs(),
                    }
                } else {
                    at(offset)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_offset_is_used_only_in_its_own_topic_and_range() {
        let kind = RecordKind::Frame;
        let ids = TopicIds::from([(kind, "one".into())]);
        let from = ReadFrom::Offsets([((kind, 3), 50)].into(), ids);
        let start = |low, high, id| from.start(kind, &Span { partition: 3, low, high, since: None }, id);
        let at = |offset, offsets_restart, lost| Start { offset, offsets_restart, lost };
        assert_eq!(start(0, 60, Some("one")), at(50, false, 0));
        // A broker without topic ids.
        assert_eq!(start(0, 60, None), at(50, false, 0));
        assert_eq!(start(52, 60, Some("one")), at(52, false, 2));
        assert_eq!(start(0, 49, None), at(0, true, 0));
        // The new topic has more records than the old one.
        assert_eq!(start(0, 60, Some("two")), at(0, true, 0));
    }
}
