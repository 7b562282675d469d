//! Whether a reader reads all its topics and partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use lookout_schema::RecordKind;
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode};

use super::{
    RecordReader,
    metadata_query::{Found, FoundTopic},
};

/// If the brokers have not answered a query for topics for this long, they count as unreachable.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// A topic, or some of its partitions, currently cannot be read. The reader retries until it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadProblem {
    /// The record kind of the topic; `None` if all topics are affected.
    pub kind: Option<RecordKind>,
    /// Why the topic cannot be read, for people.
    pub reason: String,
}

/// The results of the queries for topics and partitions.
pub(super) struct MetadataState {
    answered: Instant,
    failed: Option<String>,
    refused: BTreeMap<RecordKind, RDKafkaErrorCode>,
    recreated: BTreeSet<RecordKind>,
    /// The problems that were logged last.
    logged: Vec<ReadProblem>,
}

impl MetadataState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            answered: now,
            failed: None,
            refused: BTreeMap::new(),
            recreated: BTreeSet::new(),
            logged: Vec::new(),
        }
    }

    pub(super) fn refused(&mut self, kind: RecordKind, code: RDKafkaErrorCode) {
        self.refused.insert(kind, code);
    }

    pub(super) fn recreated(&mut self, kind: RecordKind) {
        self.recreated.insert(kind);
    }

    pub(super) fn is_recreated(&self, kind: RecordKind) -> bool {
        self.recreated.contains(&kind)
    }

    pub(super) fn take(&mut self, found: Found, now: Instant) {
        let topics = match found {
            Ok(topics) => topics,
            Err(reason) => {
                self.failed = Some(reason);
                return;
            }
        };
        (self.answered, self.failed) = (now, None);
        self.refused.clear();
        for (kind, topic) in topics {
            match topic {
                FoundTopic::Missing => {}
                FoundTopic::Refused(code) => drop(self.refused.insert(kind, code)),
                // Its partitions are assigned by now. Partitions that appear later were added to the new topic.
                FoundTopic::Partitions(_) => drop(self.recreated.remove(&kind)),
            }
        }
    }
}

impl RecordReader {
    /// Returns what cannot be read at `now`; empty if everything is read. A missing topic is a problem only if it
    /// existed before.
    pub fn troubles(&self, now: Instant) -> Vec<ReadProblem> {
        let fetching = self.fetching();
        let all = |reason: String| vec![ReadProblem { kind: None, reason }];
        let first = self.assigned.values().map(|assigned| assigned.since).min();
        if first.is_some_and(|first| fetching.is_stale(first, now)) {
            return all("the Kafka client reports no statistics; the state of reading is unknown".into());
        }
        if now.saturating_duration_since(self.metadata.answered) > ANSWERED_WITHIN {
            let reason = self.fetching().last_reason().or_else(|| self.metadata.failed.clone());
            let reason = reason.unwrap_or_else(|| "the client reported no error".into());
            return all(format!("the brokers `{}` do not answer: {reason}", self.brokers));
        }
        let mut troubles = Vec::new();
        // If the topics are read one after the other, check only the current one.
        let only = self.ends.is_some().then(|| self.later.front().map(|(kind, _)| *kind));
        for kind in &self.options.kinds {
            if only.is_some_and(|only| only != Some(*kind)) {
                continue;
            }
            let topic = self.topics.of(*kind);
            if let Some(code) = self.metadata.refused.get(kind) {
                let reason = format!("`{topic}` cannot be read: {code}");
                troubles.push(ReadProblem { kind: Some(*kind), reason });
                continue;
            }
            let mut standing = self.assigned.iter().filter(|((of, _), _)| of == kind).filter_map(
                |((_, partition), assigned)| fetching.trouble(topic, *partition, assigned.since, now),
            );
            let Some(reason) = standing.next() else { continue };
            let others = standing.count();
            let reason = if others > 0 { format!("{reason} (and {others} more partitions)") } else { reason };
            troubles.push(ReadProblem { kind: Some(*kind), reason });
        }
        for (kind, partition) in &self.waiting.partitions {
            if troubles.iter().all(|trouble| trouble.kind != Some(*kind)) {
                let reason = format!("partition {partition} of `{}` has no leader", self.topics.of(*kind));
                troubles.push(ReadProblem { kind: Some(*kind), reason });
            }
        }
        if let Some(reason) = fetching.undecodable(now) {
            troubles.push(ReadProblem { kind: None, reason });
        }
        troubles
    }

    /// Returns whether all partitions of `kinds` are being read, so that a record that has not arrived by `now` was
    /// not written. Stricter than [`Self::troubles`], which gives a partition time to move to another broker.
    pub fn reads_all(&self, kinds: impl Fn(RecordKind) -> bool, now: Instant) -> bool {
        let is_fetched = |(kind, partition): &(RecordKind, i32)| {
            self.fetching().is_fetched(self.topics.of(*kind), *partition, now)
        };
        let has_answered = now.saturating_duration_since(self.metadata.answered) <= ANSWERED_WITHIN;
        has_answered
            && self.metadata.refused.keys().all(|kind| !kinds(*kind))
            && self.waiting.partitions.iter().all(|(kind, _)| !kinds(*kind))
            && self.assigned.keys().filter(|(kind, _)| kinds(*kind)).all(is_fetched)
    }

    /// Logs the problems that have changed since the last call.
    pub(super) fn log_troubles(&mut self) {
        let troubles = self.troubles(Instant::now());
        let is_new =
            |trouble: &&ReadProblem| self.metadata.logged.iter().all(|known| known.kind != trouble.kind);
        for trouble in troubles.iter().filter(is_new) {
            tracing::warn!(reason = trouble.reason, "records cannot be read, the reader retries");
        }
        if troubles.is_empty() {
            if !self.metadata.logged.is_empty() {
                tracing::info!(topics = self.names(), "records are read again");
            }
            self.consumer.context().fetching.recovered();
        }
        self.metadata.logged = troubles;
    }
}
