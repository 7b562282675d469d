//! Queries the brokers for topics and partitions that were added while others are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use lookout_schema::RecordKind;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::{
    task::{self, JoinHandle},
    time::sleep,
};

use super::{
    Consuming, ReadFrom,
    spans::{Existing, Span, existing, span},
};
use crate::client::code;

/// The interval between two queries.
const QUERY_INTERVAL: Duration = Duration::from_secs(2);
/// How long the brokers may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The state of each topic, or why the brokers do not answer.
pub(super) type Found = Result<BTreeMap<RecordKind, FoundTopic>, String>;

pub(super) enum FoundTopic {
    Missing,
    Refused(RDKafkaErrorCode),
    /// The topic's partitions. Partitions that the reader waits for come with their offsets.
    Partitions(Vec<(i32, Option<Span>)>),
}

/// A query for topics and partitions.
pub(super) struct MetadataQuery {
    pub(super) consumer: Arc<Consuming>,
    pub(super) topics: Vec<(RecordKind, String)>,
    /// Partitions that had no leader, and topics that were not accessible, when reading started.
    pub(super) waiting: Waiting,
    pub(super) from: ReadFrom,
    pub(super) now: bool,
}

/// Partitions and topics that existed before reading started but could not be read then.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    pub(super) partitions: BTreeSet<(RecordKind, i32)>,
    pub(super) topics: BTreeSet<RecordKind>,
}

impl Waiting {
    pub(super) fn contains(&self, kind: RecordKind, partition: i32) -> bool {
        self.topics.contains(&kind) || self.partitions.contains(&(kind, partition))
    }
}

impl MetadataQuery {
    pub(super) fn start(self) -> JoinHandle<Found> {
        tokio::spawn(async move {
            if !self.now {
                sleep(QUERY_INTERVAL).await;
            }
            let asked =
                task::spawn_blocking(move || self.ask().map_err(|error| code(&error).to_string())).await;
            asked.unwrap_or_else(|panic| Err(panic.to_string()))
        })
    }

    /// Runs the query. Blocks its thread.
    fn ask(&self) -> Result<BTreeMap<RecordKind, FoundTopic>, KafkaError> {
        let mut found = BTreeMap::new();
        for (kind, topic) in &self.topics {
            let topic = match existing(&self.consumer, topic, ANSWER_WITHIN)? {
                Existing::Missing => FoundTopic::Missing,
                Existing::Refused(code) => FoundTopic::Refused(code),
                Existing::Partitions(partitions) => {
                    let with_span = |(partition, has_leader): (i32, bool)| {
                        let is_due = has_leader && self.waiting.contains(*kind, partition);
                        let span = is_due.then(|| {
                            span(&self.consumer, topic, partition, self.from.ago(), ANSWER_WITHIN).ok()
                        });
                        (partition, span.flatten())
                    };
                    FoundTopic::Partitions(partitions.into_iter().map(with_span).collect())
                }
            };
            found.insert(*kind, topic);
        }
        Ok(found)
    }
}

/// Waits for the result of the query; never returns if no query is pending.
///
/// The future is cancel safe: dropping it loses no result.
pub(super) async fn found(metadata_query: &mut Option<JoinHandle<Found>>) -> Found {
    match metadata_query {
        Some(metadata_query) => metadata_query.await.unwrap_or_else(|panic| Err(panic.to_string())),
        None => pending().await,
    }
}
