//! What is read, and from where on.

use std::{collections::BTreeMap, time::Duration};

use lookout_schema::{CameraId, RecordKind};

use super::spans::Span;

/// Where reading begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest record that the topics still have.
    Beginning,
    /// With what came so long ago.
    Ago(Duration),
    /// With what comes after the reader was opened.
    #[default]
    Now,
    /// Each partition where its last reader stopped; with the oldest record where none was, or where the records
    /// there are gone, or where the topic is not the one of which its id is given.
    Places(Places, TopicIds),
}

/// The offset of the next record to read, by kind and partition.
pub type Places = BTreeMap<(RecordKind, i32), i64>;

/// The ids that brokers give topics. A topic that is recreated under its old name has a new one.
pub type TopicIds = BTreeMap<RecordKind, String>;

/// What to read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    pub from: ReadFrom,
    pub kinds: Vec<RecordKind>,
    /// Stop at what was the end when the reader was opened, rather than wait for more. The topics are then read one
    /// after the other.
    pub until_end: bool,
    /// Only what belongs to this camera.
    pub camera: Option<CameraId>,
    pub missing: Missing,
    pub refused: Refused,
}

/// What to do about a topic that does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// Wait for it before the first record is read, or fail where the reader is to stop at the end.
    #[default]
    Wait,
    /// Read the others; it is read from its beginning once it exists.
    Follow,
}

/// What to do where the brokers refuse to be read: a password or a right may be missing, or about to come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refused {
    /// Fail where nothing was read yet, for a person who waits; retry afterwards.
    #[default]
    Fail,
    /// Retry for as long as it takes.
    Wait,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            from: ReadFrom::default(),
            kinds: vec![RecordKind::Frame, RecordKind::Status],
            until_end: false,
            camera: None,
            missing: Missing::default(),
            refused: Refused::default(),
        }
    }
}

/// Where reading of a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: i64,
    /// The place that was known is one of records that are not there any more, or of another topic.
    pub(super) anew: bool,
    /// Records that were deleted before they were read.
    pub(super) lost: u64,
}

impl ReadFrom {
    pub(super) fn ago(&self) -> Option<Duration> {
        match self {
            Self::Ago(ago) => Some(*ago),
            Self::Beginning | Self::Now | Self::Places(..) => None,
        }
    }

    /// Where reading begins of a partition that holds `span`, and whose topic has this id.
    pub(super) fn start(&self, kind: RecordKind, span: &Span, id: Option<&str>) -> Start {
        let at = |offset| Start { offset, anew: false, lost: 0 };
        match self {
            // The registry is what all of its records say together.
            _ if kind == RecordKind::Camera => at(span.low),
            Self::Beginning => at(span.low),
            Self::Ago(_) => at(span.since.unwrap_or(span.high)),
            Self::Now => at(span.high),
            Self::Places(places, ids) => {
                let Some(place) = places.get(&(kind, span.partition)).copied() else { return at(span.low) };
                let is_other = ids.get(&kind).zip(id).is_some_and(|(before, now)| before != now);
                if is_other || place > span.high {
                    Start { offset: span.low, anew: true, lost: 0 }
                } else if place < span.low {
                    Start { offset: span.low, anew: false, lost: (span.low - place).unsigned_abs() }
                } else {
                    at(place)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_in_the_same_topic_and_where_its_records_still_are() {
        let kind = RecordKind::Frame;
        let ids = TopicIds::from([(kind, "one".into())]);
        let from = ReadFrom::Places([((kind, 3), 50)].into(), ids);
        let start = |low, high, id| from.start(kind, &Span { partition: 3, low, high, since: None }, id);
        let at = |offset, anew, lost| Start { offset, anew, lost };
        assert_eq!(start(0, 60, Some("one")), at(50, false, 0));
        // A broker that gives no ids.
        assert_eq!(start(0, 60, None), at(50, false, 0));
        assert_eq!(start(52, 60, Some("one")), at(52, false, 2));
        assert_eq!(start(0, 49, None), at(0, true, 0));
        // The new topic has more records than the old one.
        assert_eq!(start(0, 60, Some("two")), at(0, true, 0));
    }
}
