//! Merges the messages of a recording by time, and computes when each is due. This module reads no clock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use lookout_schema::RecordKind;

use super::Recorded;

/// A message with the time at which it was written, in milliseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// The time, in milliseconds since 1970.
    pub at_ms: i64,
    /// The message.
    pub message: Recorded,
}

/// Sorts messages by time; the order within each partition is kept. Kafka delivers the past records of a topic one
/// partition after the other, some megabytes at a time. Messages are therefore buffered here until the buffer exceeds
/// a number of bytes, which bounds the memory for a recording of any length.
#[derive(Debug)]
pub struct Merge {
    waiting: BinaryHeap<Reverse<Waiting>>,
    messages: BTreeMap<u64, Recorded>,
    bytes: usize,
    most_bytes: usize,
    /// The time of each partition's last message; later messages of the partition are never due before it.
    latest: BTreeMap<(RecordKind, i32), i64>,
    next: u64,
}

/// The sort key: the time, then the order of arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at_ms: i64,
    place: u64,
}

/// The approximate memory of a message in addition to its key, value and headers, in bytes.
const OVERHEAD: usize = 200;

impl Default for Merge {
    fn default() -> Self {
        Self::new(256 << 20)
    }
}

impl Merge {
    /// Creates a merge that buffers at most about `most_bytes` bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            waiting: BinaryHeap::new(),
            messages: BTreeMap::new(),
            bytes: 0,
            most_bytes,
            latest: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds a message. A message without a timestamp, or with one before that of its partition's last message, gets
    /// the time of that message.
    pub fn push(&mut self, message: Recorded) {
        let latest = self.latest.entry((message.kind, message.partition)).or_insert(i64::MIN);
        let at_ms = message.time_ms.unwrap_or(*latest).max(*latest);
        *latest = at_ms;
        self.bytes += size(&message);
        self.waiting.push(Reverse(Waiting { at_ms, place: self.next }));
        self.messages.insert(self.next, message);
        self.next += 1;
    }

    /// Returns the earliest buffered message if the buffer exceeds its limit.
    pub fn pop(&mut self) -> Option<Due> {
        if self.bytes > self.most_bytes { self.pop_last() } else { None }
    }

    /// Returns the earliest buffered message; for use when no more messages arrive.
    pub fn pop_last(&mut self) -> Option<Due> {
        let Reverse(first) = self.waiting.pop()?;
        let message = self.messages.remove(&first.place)?;
        self.bytes = self.bytes.saturating_sub(size(&message));
        Some(Due { at_ms: first.at_ms, message })
    }
}

fn size(message: &Recorded) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + len(value)).sum();
    OVERHEAD + len(&message.key) + len(&message.value) + headers
}

/// The speed at which a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// This many times the original speed.
    Times(f64),
    /// As fast as possible.
    Max,
}

/// Computes from a message's time when it is due in the replay.
#[derive(Debug)]
pub struct Pace {
    speed: Speed,
    first_ms: Option<i64>,
}

impl Pace {
    /// Creates the pace of a replay, which starts with the first message.
    pub fn new(speed: Speed) -> Self {
        Self { speed, first_ms: None }
    }

    /// Returns whether messages are sent without waiting.
    pub fn is_max(&self) -> bool {
        self.speed == Speed::Max
    }

    /// Returns how long after the first message this one is due.
    pub fn after(&mut self, at_ms: i64) -> Duration {
        // A message without a time, before any message with one, is due at once.
        let first = if at_ms == i64::MIN { at_ms } else { *self.first_ms.get_or_insert(at_ms) };
        let passed_ms = at_ms.saturating_sub(first).max(0) as f64;
        match self.speed {
            Speed::Max => Duration::ZERO,
            Speed::Times(times) => {
                Duration::try_from_secs_f64(passed_ms / 1000.0 / times).unwrap_or(Duration::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(partition: i32, offset: i64, time_ms: Option<i64>) -> Recorded {
        Recorded {
            kind: RecordKind::Frame,
            partition,
            offset,
            time_ms,
            key: None,
            value: Some(vec![0; 100]),
            headers: Vec::new(),
        }
    }

    fn merged(mut merge: Merge, messages: impl IntoIterator<Item = Recorded>) -> Vec<Due> {
        let mut out = Vec::new();
        for message in messages {
            merge.push(message);
            out.extend(std::iter::from_fn(|| merge.pop()));
        }
        out.extend(std::iter::from_fn(|| merge.pop_last()));
        out
    }

    #[test]
    fn merges_consecutive_partitions_by_time() {
        let messages = [0, 1].map(|partition| {
            (0..50).map(move |n| message(partition, n, Some(10 * n + i64::from(partition))))
        });
        let due = merged(Merge::default(), messages.into_iter().flatten());
        assert!(due.is_sorted_by_key(|due| due.at_ms) && due.len() == 100);
        assert_eq!(due[1].message.partition, 1);
    }

    proptest! {
        #[test]
        fn keeps_the_order_of_each_partition_and_loses_no_message(
            times in prop::collection::vec((0..3, prop::option::of(-50i64..50)), 0..60), most in 0usize..5000
        ) {
            let messages: Vec<_> = times.iter().enumerate().map(|(n, (partition, time))| message(*partition, n as i64, *time)).collect();
            let due = merged(Merge::new(most), messages.clone());
            for partition in 0..3 {
                let of = |messages: Vec<&Recorded>| -> Vec<i64> {
                    messages.iter().filter(|message| message.partition == partition).map(|message| message.offset).collect()
                };
                prop_assert_eq!(of(due.iter().map(|due| &due.message).collect()), of(messages.iter().collect()));
            }
        }
    }

    #[test]
    fn scales_the_intervals_by_the_speed() {
        let mut pace = Pace::new(Speed::Times(4.0));
        assert_eq!(pace.after(i64::MIN), Duration::ZERO);
        assert_eq!(pace.after(1000), Duration::ZERO);
        assert_eq!(pace.after(3000), Duration::from_millis(500));
        assert_eq!(pace.after(2000), Duration::from_millis(250));
        assert_eq!(Pace::new(Speed::Max).after(i64::MAX), Duration::ZERO);
        let mut slow = Pace::new(Speed::Times(1e-300));
        slow.after(0);
        assert_eq!(slow.after(i64::MAX), Duration::MAX);
    }
}
