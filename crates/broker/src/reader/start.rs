//! Where the reader starts in each partition.

use std::{sync::Arc, time::Instant};

use lookout_schema::RecordKind;
use rdkafka::{Offset, TopicPartitionList};
use tokio::{task, time::sleep};

use super::{
    Assigned, OnMissingTopic, ReadFrom, RecordReader, Refused, TRY_AGAIN,
    spans::{Held, Span, spans},
};
use crate::BrokerError;

impl RecordReader {
    /// Adds the start offsets of the topic of `kind` to `start`.
    pub(super) async fn add_start_offsets(
        &mut self,
        kind: RecordKind,
        start: &mut TopicPartitionList,
    ) -> Result<(), BrokerError> {
        let mut waited = false;
        loop {
            match self.spans(kind).await? {
                Held::Spans(spans, leaderless) => {
                    if self.options.until_end && !leaderless.is_empty() {
                        let reason = format!("{} partitions have no leader", leaderless.len());
                        return Err(BrokerError::Read { topic: self.topics.of(kind).to_owned(), reason });
                    }
                    self.waiting.partitions.extend(leaderless.into_iter().map(|partition| (kind, partition)));
                    for span in &spans {
                        // A topic that was created while the reader waited is read from its beginning.
                        let from = if waited { &ReadFrom::Beginning } else { &self.options.from };
                        let offset = self.start(kind, span, &from.clone(), start)?;
                        if let Some(ends) = &mut self.ends
                            && offset < span.high
                        {
                            ends.insert((kind, span.partition), span.high);
                        }
                    }
                    return Ok(());
                }
                Held::Refused(code) if self.options.refused == Refused::Fail => {
                    return Err(self.refused(self.topics.of(kind), code));
                }
                Held::Refused(code) => {
                    self.waiting.topics.insert(kind);
                    self.metadata.refused(kind, code);
                    if self.options.missing == OnMissingTopic::Follow {
                        return Ok(());
                    }
                }
                Held::Missing => match self.options.missing {
                    OnMissingTopic::Follow => return Ok(()),
                    OnMissingTopic::Wait if self.options.until_end => {
                        let topic = self.topics.of(kind).to_owned();
                        return Err(BrokerError::NoTopic { topic, brokers: self.brokers.clone() });
                    }
                    OnMissingTopic::Wait => {
                        if !std::mem::replace(&mut waited, true) {
                            let topic = self.topics.of(kind);
                            tracing::info!(topic, "the topic does not exist yet, waiting for it");
                        }
                    }
                },
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Queries which partitions and offsets the topic of `kind` has.
    async fn spans(&self, kind: RecordKind) -> Result<Held, BrokerError> {
        let topic = self.topics.of(kind).to_owned();
        let ago = self.options.from.ago();
        let (consumer, name) = (Arc::clone(&self.consumer), topic.clone());
        match task::spawn_blocking(move || spans(&consumer, &name, ago)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(error)) => {
                let reason = self.fetching().last_reason().unwrap_or_else(|| error.to_string());
                Err(BrokerError::Unreachable { brokers: self.brokers.clone(), reason })
            }
            Err(panic) => Err(BrokerError::Read { topic, reason: panic.to_string() }),
        }
    }

    /// Adds a partition with its start offset to `list`, and returns the offset.
    pub(super) fn start(
        &mut self,
        kind: RecordKind,
        span: &Span,
        from: &ReadFrom,
        list: &mut TopicPartitionList,
    ) -> Result<i64, BrokerError> {
        let topic = self.topics.of(kind).to_owned();
        let start = from.start(kind, span, self.fetching().topic_id(&topic).as_deref());
        if start.offsets_restart {
            tracing::warn!(
                topic,
                partition = span.partition,
                "the topic was recreated, it is read from its beginning"
            );
        }
        self.count_lost(kind, span.partition, start.lost);
        self.add((kind, span.partition), Offset::Offset(start.offset), start.offsets_restart, list)?;
        Ok(start.offset)
    }

    pub(super) fn add(
        &mut self,
        place: (RecordKind, i32),
        offset: Offset,
        offsets_restart: bool,
        list: &mut TopicPartitionList,
    ) -> Result<(), BrokerError> {
        let (kind, partition) = place;
        self.assigned
            .insert(place, Assigned { since: Instant::now(), from: offset, next: None, offsets_restart });
        if let Some(id) = self.fetching().topic_id(self.topics.of(kind)) {
            self.ids.insert(kind, id);
        }
        list.add_partition_offset(self.topics.of(kind), partition, offset)
            .map_err(|error| self.failed(&error))
    }
}
