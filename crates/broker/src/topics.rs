//! Creates the topics, in the background, for as long as it takes to reach a broker.

use std::time::Duration;

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
};

const TRY_FOR: Duration = Duration::from_secs(5);
/// Short, because asking blocks, and the thread may be told to stop.
const ASK_FOR: Duration = Duration::from_millis(300);
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// A topic as it is to be.
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
    /// As the broker has it.
    Default,
    /// The last record of a key for ever, and those before it not.
    Compacted,
    /// An hour.
    Short,
}

/// Settings of a compacted topic. Its records are read from the beginning at each start, so what was
/// overwritten is cleaned away sooner than by default.
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1"), ("segment.ms", "3600000")];

/// Settings of a topic whose records take room and are soon outdated. What is kept too long goes a segment at
/// a time, so segments are short.
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

/// Creates topics.
pub(crate) struct TopicCreator {
    admin: AdminClient<QuietContext>,
    topics: Vec<TopicPlan>,
    /// -1 for the broker's default.
    replication: i32,
}

impl TopicCreator {
    /// Of the topics of records of `kinds`.
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

    /// Of one topic, with so many partitions; 0 takes the broker's default.
    pub(crate) fn of_one(settings: &KafkaSettings, name: &str, partitions: u16) -> Result<Self, BrokerError> {
        let partitions = if partitions == 0 { -1 } else { i32::from(partitions) };
        Self::of(
            settings,
            vec![TopicPlan { name: name.to_owned(), partitions, retention: Retention::Default }],
        )
    }

    /// Of the registry, with so many partitions, and the claims to them.
    pub(crate) fn of_registry(settings: &KafkaSettings, partitions: u16) -> Result<Self, BrokerError> {
        let plan = |name: &String, partitions| TopicPlan {
            name: name.clone(),
            partitions,
            retention: Retention::Compacted,
        };
        let registry = plan(&settings.topics.cameras, i32::from(partitions));
        // One, so that the claims are in one order.
        Self::of(settings, vec![registry, plan(&settings.topics.claims, 1)])
    }

    fn of(settings: &KafkaSettings, topics: Vec<TopicPlan>) -> Result<Self, BrokerError> {
        let admin = admin(settings)?;
        let replication = if settings.replication == 0 { -1 } else { i32::from(settings.replication) };
        Ok(Self { admin, topics, replication })
    }

    /// Returns when each topic exists, or when the brokers will not create it: then it was created by
    /// hand, or records wait until it is. Gives the client, for whoever has more to ask.
    pub(crate) async fn run(mut self) -> AdminClient<QuietContext> {
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
                        tracing::warn!(?code, ?topics, "the brokers create no topics");
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
                    tracing::warn!(topic, ?code, "topic could not be created, it has to be made by hand");
                    topic
                }
            };
            self.topics.retain(|due| due.name != topic);
        }
    }

    /// Leaves the topics that do not exist; false where no broker says. Topics that were created by hand
    /// need no right to create them.
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

fn admin(settings: &KafkaSettings) -> Result<AdminClient<QuietContext>, BrokerError> {
    let redactor = Redactor::new(settings);
    client_config(settings, Use::Admin)?
        .create_with_context(QuietContext::new(redactor.clone()))
        .map_err(|error| redactor.creation_error(&error))
}

/// Whether another try may end better.
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
