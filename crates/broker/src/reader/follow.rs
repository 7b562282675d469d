//! Follows the topics: new partitions, and topics that were recreated.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use lookout_schema::RecordKind;
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer};
use tokio::task;

use super::{
    RecordReader, connect,
    metadata_query::{Found, FoundTopic, MetadataQuery},
    spans::Span,
};
use crate::{BrokerError, client::with_known};

impl RecordReader {
    /// Restarts topics that were recreated from their beginning.
    ///
    /// This needs a new client. librdkafka keeps the leader epochs of the deleted topic, and ignores metadata of the
    /// new topic, whose leader epochs start at 0, until the epochs are as high.
    pub(super) fn start_over(&mut self) -> Result<(), BrokerError> {
        let recreated = self.fetching().take_recreated();
        let kinds: BTreeSet<_> = recreated.iter().filter_map(|topic| self.kind_of(topic)).collect();
        if kinds.is_empty() || self.ends.is_some() {
            return Ok(());
        }
        for kind in &kinds {
            tracing::warn!(
                topic = self.topics.of(*kind),
                "the topic was recreated, it is read from its beginning"
            );
            self.metadata.recreated(*kind);
            self.ids.remove(kind);
            self.waiting.topics.remove(kind);
            self.waiting.partitions.retain(|(waiting, _)| waiting != kind);
        }
        self.assigned.retain(|(kind, _), _| !kinds.contains(kind));
        let mut others = TopicPartitionList::new();
        let now = Instant::now();
        for ((kind, partition), assigned) in &mut self.assigned {
            assigned.since = now;
            let offset = assigned.next.map_or(assigned.from, Offset::Offset);
            let added = others.add_partition_offset(self.topics.of(*kind), *partition, offset);
            added.map_err(|error| BrokerError::Read {
                topic: self.topics.of(*kind).to_owned(),
                reason: error.to_string(),
            })?;
        }
        let config = with_known(&self.config, &self.fetching().brokers());
        let before =
            std::mem::replace(&mut self.consumer, connect(&config, &self.credentials, &self.redactor)?);
        // Closing the client may wait for the brokers.
        task::spawn_blocking(move || drop(before));
        self.consumer.assign(&others).map_err(|error| self.failed(&error))?;
        self.query_metadata(true);
        Ok(())
    }

    /// Starts a query for the existing partitions, after a delay or immediately if `now`.
    pub(super) fn query_metadata(&mut self, now: bool) {
        if let Some(metadata_query) = self.metadata_query.take() {
            metadata_query.abort();
        }
        let topic = |kind: &RecordKind| (*kind, self.topics.of(*kind).to_owned());
        let metadata_query = MetadataQuery {
            consumer: Arc::clone(&self.consumer),
            topics: self.options.kinds.iter().map(topic).collect(),
            waiting: self.waiting.clone(),
            from: self.options.from.clone(),
            now,
        };
        self.metadata_query = Some(metadata_query.start());
    }

    /// Assigns new partitions that the query has found.
    pub(super) fn follow(&mut self, found: Found) -> Result<(), BrokerError> {
        let mut start = TopicPartitionList::new();
        match &found {
            // A reader that stops at the end does not read partitions that were added after it was opened.
            Ok(_) if self.ends.is_some() => {}
            Ok(topics) => {
                for (kind, topic) in topics {
                    let FoundTopic::Partitions(partitions) = topic else { continue };
                    self.follow_topic(*kind, partitions, &mut start)?;
                }
            }
            // Unreachable brokers do not answer, which is not an error.
            Err(reason) => tracing::debug!(reason, "the brokers did not report the topics' partitions"),
        }
        self.metadata.take(found, Instant::now());
        if start.count() > 0 {
            self.consumer.incremental_assign(&start).map_err(|error| self.failed(&error))?;
        }
        self.log_troubles();
        self.query_metadata(false);
        Ok(())
    }

    fn follow_topic(
        &mut self,
        kind: RecordKind,
        partitions: &[(i32, Option<Span>)],
        start: &mut TopicPartitionList,
    ) -> Result<(), BrokerError> {
        for (partition, span) in partitions {
            let place = (kind, *partition);
            if self.assigned.contains_key(&place) {
                continue;
            }
            if let Some(span) = span {
                let from = self.options.from.clone();
                self.start(kind, span, &from, start)?;
                self.waiting.partitions.remove(&place);
            } else if !self.waiting.contains(kind, *partition) {
                let offsets_restart = self.metadata.is_recreated(kind);
                self.add(place, Offset::Beginning, offsets_restart, start)?;
            }
        }
        if partitions.iter().all(|(partition, _)| self.assigned.contains_key(&(kind, *partition))) {
            self.waiting.topics.remove(&kind);
        }
        Ok(())
    }
}
