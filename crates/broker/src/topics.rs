//! Creates the topics in the background, and retries until a broker is reached.

use std::{sync::Arc, time::Duration};

use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaResult, RDKafkaErrorCode},
};

use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code},
    context::QuietContext,
    credentials::Credentials,
};

const TRY_FOR: Duration = Duration::from_secs(5);
/// Short, because the query blocks and the thread may have to stop.
const ASK_FOR: Duration = Duration::from_millis(300);
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// A topic to create.
#[derive(Debug, Clone)]
struct TopicPlan {
    name: String,
    /// -1 for the broker's default.
    partitions: i32,
    retention: Retention,
}

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy)]
enum Retention {
    /// The broker's default.
    Default,
    /// The last record of each key forever, and no older ones.
    Compacted,
    /// One hour.
    Short,
}

/// Settings of a compacted topic. Its records are read from the beginning at each start, so overwritten records are
/// removed sooner than by default.
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1"), ("segment.ms", "3600000")];

/// Settings of a topic with large records that are soon outdated. Kafka deletes whole segments, so the segments are
/// short.
const SHORT: [(&str, &str); 2] = [("retention.ms", "3600000"), ("segment.ms", "600000")];

impl Retention {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Default => &[],
            Self::Compacted => &COMPACTED,
            Self::Short => &SHORT,
        }
    }
}

/// Creates topics on the brokers.
pub(crate) struct TopicCreator {
    admin: Arc<AdminClient<QuietContext>>,
    topics: Vec<TopicPlan>,
    /// -1 for the broker's default.
    replication: i32,
}

impl TopicCreator {
    /// Returns a creator for the topics of `kinds`.
    pub(crate) fn new(settings: &KafkaSettings, kinds: &[RecordKind]) -> Result<Self, BrokerError> {
        let partitions = if settings.partitions == 0 { -1 } else { i32::from(settings.partitions) };
        let plan = |kind: &RecordKind| {
            let retention = match kind {
                RecordKind::Snapshot => Retention::Short,
                RecordKind::Camera => Retention::Compacted,
                RecordKind::Frame | RecordKind::Status | RecordKind::Track | RecordKind::Alert => {
                    Retention::Default
                }
            };
            TopicPlan { name: settings.topics.of(*kind).to_owned(), partitions, retention }
        };
        Self::of(settings, kinds.iter().map(plan).collect())
    }

    /// Returns a creator for one topic with `partitions` partitions; 0 selects the broker's default.
    pub(crate) fn of_one(settings: &KafkaSettings, name: &str, partitions: u16) -> Result<Self, BrokerError> {
        let partitions = if partitions == 0 { -1 } else { i32::from(partitions) };
        Self::of(
            settings,
            vec![TopicPlan { name: name.to_owned(), partitions, retention: Retention::Default }],
        )
    }

    /// Returns a creator for the registry with `partitions` partitions, and for the topic of the claims to them.
    pub(crate) fn of_registry(settings: &KafkaSettings, partitions: u16) -> Result<Self, BrokerError> {
        let plan = |name: &String, partitions| TopicPlan {
            name: name.clone(),
            partitions,
            retention: Retention::Compacted,
        };
        let registry = plan(&settings.topics.cameras, i32::from(partitions));
        // With one partition, all claims are in one order.
        Self::of(settings, vec![registry, plan(&settings.topics.claims, 1)])
    }

    fn of(settings: &KafkaSettings, topics: Vec<TopicPlan>) -> Result<Self, BrokerError> {
        let admin = admin(settings)?;
        let replication = if settings.replication == 0 { -1 } else { i32::from(settings.replication) };
        Ok(Self { admin, topics, replication })
    }

    /// Returns once each topic exists, or once the brokers refuse to create it. In the latter case, records wait
    /// until the topic is created by hand. Returns the admin client for further queries.
    pub(crate) async fn run(mut self) -> Arc<AdminClient<QuietContext>> {
        self.create_all().await;
        self.admin
    }

    async fn create_all(&mut self) {
        loop {
            if self.forget_existing() && !self.topics.is_empty() {
                match self.create().await {
                    Ok(results) => self.forget_settled(results),
                    Err(error) if is_passing(code(&error)) => {}
                    Err(error) => {
                        let code = code(&error);
                        let topics: Vec<_> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
                        tracing::warn!(
                            ?code,
                            ?topics,
                            "the topics could not be created, create them by hand"
                        );
                        return;
                    }
                }
            }
            if self.topics.is_empty() {
                return;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    fn forget_settled(&mut self, results: Vec<Result<String, (String, RDKafkaErrorCode)>>) {
        for result in results {
            let topic = match result {
                Ok(topic) => {
                    tracing::info!(topic, "topic created");
                    topic
                }
                Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => topic,
                Err((_, code)) if is_passing(code) => continue,
                Err((topic, code)) => {
                    tracing::warn!(topic, ?code, "the topic could not be created, create it by hand");
                    topic
                }
            };
            self.topics.retain(|due| due.name != topic);
        }
    }

    /// Removes the topics that exist from the list; false if no broker answers. Topics that were created by hand need
    /// no right to create topics.
    fn forget_existing(&mut self) -> bool {
        let mut missing = Vec::new();
        for topic in &self.topics {
            match self.admin.inner().fetch_metadata(Some(&topic.name), ASK_FOR) {
                Ok(found) if found.topics().iter().any(|t| t.error().is_none()) => {}
                Ok(_) => missing.push(topic.clone()),
                Err(_) => return false,
            }
        }
        self.topics = missing;
        true
    }

    async fn create(&self) -> KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>> {
        let topics: Vec<NewTopic<'_>> = self
            .topics
            .iter()
            .map(|topic| {
                let replication = TopicReplication::Fixed(self.replication);
                let new = NewTopic::new(&topic.name, topic.partitions, replication);
                topic.retention.settings().iter().fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(TRY_FOR)).operation_timeout(Some(TRY_FOR));
        self.admin.create_topics(&topics, &options).await
    }
}

fn admin(settings: &KafkaSettings) -> Result<Arc<AdminClient<QuietContext>>, BrokerError> {
    let redactor = Redactor::new(settings);
    let client: AdminClient<QuietContext> = client_config(settings, Use::Admin)?
        .create_with_context(QuietContext::new(redactor.clone()))
        .map_err(|error| redactor.creation_error(&error))?;
    let client = Arc::new(client);
    Credentials::new(settings).follow(&client, |client| client.inner().native_ptr());
    Ok(client)
}

/// Returns whether another attempt may succeed.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::WaitingForCoordinator
            | Code::NotController
            | Code::LeaderNotAvailable
            | Code::BrokerNotAvailable
            | Code::NetworkException
            | Code::Resolve
            | Code::SSL
            | Code::Authentication
    )
}
