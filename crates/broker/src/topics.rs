//! Creates the topics, in the background, for as long as it takes to reach a broker.

use std::time::Duration;

use lookout_config::KafkaSettings;
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

/// Creates the topics of one pipeline.
pub(crate) struct TopicCreator {
    admin: AdminClient<QuietContext>,
    topics: Vec<String>,
    /// -1 for the broker's default.
    partitions: i32,
    replication: i32,
}

impl TopicCreator {
    pub(crate) fn new(settings: &KafkaSettings) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let admin = client_config(settings, Use::Admin)?
            .create_with_context(QuietContext::new(redactor.clone()))
            .map_err(|error| redactor.creation_error(&error))?;
        let or_default = |count: u16| if count == 0 { -1 } else { i32::from(count) };
        Ok(Self {
            admin,
            topics: vec![settings.topics.frames.clone(), settings.topics.status.clone()],
            partitions: or_default(settings.partitions),
            replication: or_default(settings.replication),
        })
    }

    /// Returns when each topic exists, or when the brokers will not create it: then it was created by
    /// hand, or records wait until it is.
    pub(crate) async fn run(mut self) {
        loop {
            if self.forget_existing() && !self.topics.is_empty() {
                match self.create().await {
                    Ok(results) => self.forget_settled(results),
                    Err(error) if is_passing(code(&error)) => {}
                    Err(error) => {
                        let code = code(&error);
                        tracing::warn!(?code, topics = ?self.topics, "the brokers create no topics");
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
            self.topics.retain(|due| *due != topic);
        }
    }

    /// Leaves the topics that do not exist; false where no broker says. Topics that were created by hand
    /// need no right to create them.
    fn forget_existing(&mut self) -> bool {
        let mut missing = Vec::new();
        for topic in &self.topics {
            match self.admin.inner().fetch_metadata(Some(topic), ASK_FOR) {
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
            .map(|topic| NewTopic::new(topic, self.partitions, TopicReplication::Fixed(self.replication)))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(TRY_FOR)).operation_timeout(Some(TRY_FOR));
        self.admin.create_topics(&topics, &options).await
    }
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
