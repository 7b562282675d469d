//! Checks whether the brokers can be reached, with advice if they cannot; for `lookout doctor`.

use std::time::{Duration, Instant};

use lookout_config::KafkaSettings;
use rdkafka::{
    error::RDKafkaErrorCode,
    metadata::Metadata,
    producer::{BaseProducer, Producer},
};

use crate::{
    BrokerError, BrokerProblem,
    advice::{Security, explain_slowly, not_reached},
    client::{Redactor, Use, client_config, servers},
    context::QuietContext,
    tls,
    topic_configs::problems,
};

/// The result of a check of the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerCheck {
    /// `host:port` of each broker of the cluster, as the cluster advertises them.
    pub brokers: Vec<String>,
    /// The pipeline's topics.
    pub topics: Vec<TopicCheck>,
    /// Why no broker could be reached. If set, the other fields are empty.
    pub problem: Option<BrokerProblem>,
    /// Brokers that do not answer at the address that the cluster advertises; see [`diagnose`].
    pub unreached: Vec<BrokerProblem>,
}

/// The result for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCheck {
    /// The name of the topic.
    pub name: String,
    /// The number of partitions. `None` if the topic does not exist; the first run of a worker creates it.
    pub partitions: Option<usize>,
    /// What is wrong with the topic.
    pub problem: Option<BrokerProblem>,
}

/// How long one metadata request may take before the errors of the client are inspected.
const ASK_FOR: Duration = Duration::from_millis(300);

/// Connects to the brokers of `settings` within `timeout`, and returns their topics or what is wrong. Blocks its
/// thread.
///
/// # Errors
/// librdkafka rejects the settings.
pub fn check(settings: &KafkaSettings, timeout: Duration) -> Result<BrokerCheck, BrokerError> {
    let redactor = Redactor::new(settings);
    let client: BaseProducer<QuietContext> = client_config(settings, Use::Admin)?
        .create_with_context(QuietContext::new(redactor.clone()))
        .map_err(|error| redactor.creation_error(&error))?;
    let brokers = servers(settings)?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Ok(metadata) = client.client().fetch_metadata(None, ASK_FOR.min(left)) {
            let mut found = found(settings, &metadata);
            let left = deadline.saturating_duration_since(Instant::now());
            add_configs(settings, &mut found.topics, left.max(ASK_FOR));
            return Ok(found);
        }
        client.poll(Duration::ZERO);
        let reported = client.context().reported();
        let worst = RANK.iter().find_map(|rank| reported.iter().find(|(code, _)| code == rank));
        // A wrong password stays wrong, but a broker may still be starting.
        let is_final = matches!(worst, Some((RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL, _)));
        if is_final || left.is_zero() {
            // `AllBrokersDown` only means that no broker is connected.
            let worst =
                worst.or_else(|| reported.iter().find(|(code, _)| *code != RDKafkaErrorCode::AllBrokersDown));
            let problem = worst.map_or_else(
                || BrokerProblem {
                    what: format!("`{brokers}` did not answer within {} s", timeout.as_secs_f32()),
                    advice: "a firewall may drop the packets, the port may belong to another service, or the client \
                             and the broker may differ in whether they use TLS or SASL: check `brokers` in [kafka], \
                             and `security.protocol` in [kafka.client]"
                        .into(),
                },
                |(code, reason)| explain_slowly(*code, reason, &Security::of(settings)),
            );
            return Ok(BrokerCheck { problem: Some(problem), ..BrokerCheck::default() });
        }
    }
}

/// Does the same as [`check`], and also connects to each broker at the address that the cluster advertises. Blocks
/// its thread for some seconds more.
///
/// # Errors
/// See [`check`].
pub fn diagnose(settings: &KafkaSettings, timeout: Duration) -> Result<BrokerCheck, BrokerError> {
    let mut found = check(settings, timeout)?;
    let security = Security::of(settings);
    let unreached = found.brokers.iter().filter_map(|address| {
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        match tls::connect(host, port) {
            Ok(_) => security.tls.problem(host, port),
            Err(error) => Some(not_reached(address, &error)),
        }
    });
    found.unreached = unreached.collect();
    Ok(found)
}

/// Error codes, the most informative first.
const RANK: [RDKafkaErrorCode; 5] = [
    RDKafkaErrorCode::Authentication,
    RDKafkaErrorCode::SSL,
    RDKafkaErrorCode::BadMessage,
    RDKafkaErrorCode::Resolve,
    RDKafkaErrorCode::BrokerTransportFailure,
];

/// Adds problems with the topics' configuration to the topics that exist and have no other problem.
fn add_configs(settings: &KafkaSettings, topics: &mut [TopicCheck], patience: Duration) {
    let mut asked: Vec<_> =
        topics.iter_mut().filter(|topic| topic.partitions.is_some() && topic.problem.is_none()).collect();
    let names: Vec<_> = asked.iter().map(|topic| topic.name.clone()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for (topic, problem) in asked.iter_mut().zip(problems(settings, &names, patience)) {
        topic.problem = problem;
    }
}

fn found(settings: &KafkaSettings, metadata: &Metadata) -> BrokerCheck {
    let brokers = metadata.brokers().iter().map(|b| format!("{}:{}", b.host(), b.port())).collect();
    let topic = |name: &String| {
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let leaderless = topic.map_or(0, |t| t.partitions().iter().filter(|p| p.leader() < 0).count());
        let problem = (leaderless > 0).then(|| BrokerProblem {
            what: format!("{leaderless} partitions of `{name}` have no leader, so their records wait"),
            advice: "some brokers of this cluster are down; start them".into(),
        });
        let partitions = topic.map(|topic| topic.partitions().len());
        TopicCheck { name: name.clone(), partitions, problem }
    };
    let topics = [&settings.topics.frames, &settings.topics.status].map(topic).into();
    BrokerCheck { brokers, topics, problem: None, unreached: Vec::new() }
}
