//! Checks the topics' configuration for settings that lose records, for `lookout doctor`.

use std::{thread, time::Duration};

use lookout_config::KafkaSettings;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use tokio::runtime;

use crate::{
    BrokerProblem,
    client::{Use, client_config},
    context::QuietContext,
};

/// With a shorter retention time, records are deleted before a restarted consumer has read them.
const SHORT_MS: i64 = 300_000;

/// Returns the problem with the configuration of each of `topics`, in their order. Blocks. If the brokers do not
/// answer or deny the query, there is no retry and no problem is reported.
pub(crate) fn problems(
    settings: &KafkaSettings,
    topics: &[&str],
    patience: Duration,
) -> Vec<Option<BrokerProblem>> {
    let described = describe(settings, topics, patience).unwrap_or_default();
    let problem_of = |topic: &&str| {
        let is_it = |found: &&ConfigResource| matches!(&found.specifier, rdkafka::admin::OwnedResourceSpecifier::Topic(name) if name == topic);
        let found = described.iter().find(is_it)?;
        problem(topic, |key| found.get(key)?.value.as_deref())
    };
    topics.iter().map(problem_of).collect()
}

fn describe(settings: &KafkaSettings, topics: &[&str], patience: Duration) -> Option<Vec<ConfigResource>> {
    if topics.is_empty() {
        return None;
    }
    let admin: AdminClient<QuietContext> =
        client_config(settings, Use::Admin).ok()?.create_with_context(QuietContext::default()).ok()?;
    let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(patience));
    let ask = || {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().ok()?;
        let described = runtime.block_on(admin.describe_configs(&asked, &options)).ok()?;
        Some(described.into_iter().filter_map(Result::ok).collect())
    };
    // On a separate thread, because the caller may be a task of another runtime.
    thread::scope(|scope| scope.spawn(ask).join().ok().flatten())
}

fn problem<'a>(topic: &str, value: impl Fn(&str) -> Option<&'a str>) -> Option<BrokerProblem> {
    let policy = value("cleanup.policy").unwrap_or_default();
    if policy.split(',').any(|policy| policy.trim() == "compact") {
        return Some(BrokerProblem {
            what: format!(
                "`{topic}` is compacted (cleanup.policy={policy}): the brokers keep only the last record of each key"
            ),
            advice: format!(
                "consumers need every record: set cleanup.policy=delete on `{topic}` (`kafka-configs.sh --alter \
                 --entity-type topics --entity-name {topic} --add-config cleanup.policy=delete`)"
            ),
        });
    }
    let retention: Option<i64> = value("retention.ms").and_then(|ms| ms.parse().ok());
    let short = retention.filter(|ms| (0..SHORT_MS).contains(ms))?;
    Some(BrokerProblem {
        what: format!("`{topic}` keeps records for {} s only (retention.ms={short})", short / 1000),
        advice: "a consumer that is stopped or lags for longer loses records: set a longer retention.ms"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(settings: &[(&str, &str)]) -> Option<BrokerProblem> {
        problem("lookout.frames", |key| {
            settings.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
        })
    }

    #[test]
    fn reports_topics_whose_configuration_loses_records() {
        for policy in ["compact", "compact,delete", "delete, compact"] {
            let problem = found(&[("cleanup.policy", policy), ("retention.ms", "604800000")]).unwrap();
            assert!(
                problem.what.contains("is compacted") && problem.advice.contains("cleanup.policy=delete")
            );
        }
        let short = found(&[("cleanup.policy", "delete"), ("retention.ms", "60000")]).unwrap();
        assert!(short.what.contains("for 60 s only"), "{short:?}");
        assert_eq!(found(&[("cleanup.policy", "delete"), ("retention.ms", "604800000")]), None);
        assert_eq!(found(&[("cleanup.policy", "delete"), ("retention.ms", "-1")]), None);
        assert_eq!(found(&[]), None);
    }
}
