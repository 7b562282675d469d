//! Counts the records that brokers reject, logs them at a limited rate, and reports them in the sink's health. This
//! module reads no clock.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lookout_schema::{RecordKind, Topics};
use lookout_stage::RefusalCount;
use rdkafka::error::RDKafkaErrorCode;

use crate::advice;

/// Rejections that continue are logged again, with their count, after this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// For this long, a missing topic is not reported: not every broker knows a new topic at once.
const GRACE_OF_NEW_TOPICS: Duration = Duration::from_secs(5);

/// Whether an error concerns one record, or the topic or cluster and thereby each record until it is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Record,
    Topic,
}

/// The rejections on all topics of a producer.
#[derive(Debug)]
pub(crate) struct Refusals {
    topics: Topics,
    kinds: BTreeMap<RecordKind, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    counts: BTreeMap<String, u64>,
    /// Why the topic currently accepts no records.
    standing: Option<Standing>,
    logged: Option<Instant>,
    since_logged: u64,
}

#[derive(Debug)]
struct Standing {
    code: RDKafkaErrorCode,
    since: Instant,
    count: u64,
    logged: bool,
}

impl Refusals {
    pub(crate) fn new(topics: Topics) -> Self {
        Self { topics, kinds: BTreeMap::new() }
    }

    /// Counts a record of `kind` with the key `key` that the brokers rejected, and logs it if that is due.
    pub(crate) fn refused(
        &mut self,
        kind: RecordKind,
        (code, scope): (RDKafkaErrorCode, Scope),
        key: Option<&str>,
        now: Instant,
    ) {
        let topic = self.topics.of(kind);
        let entry = self.kinds.entry(kind).or_default();
        *entry.counts.entry(format!("{code:?}")).or_default() += 1;
        entry.since_logged += 1;
        let is_new = match (&mut entry.standing, scope) {
            (_, Scope::Record) => false,
            (Some(standing), Scope::Topic) if standing.code == code => {
                standing.count += 1;
                !standing.logged
            }
            (standing, Scope::Topic) => {
                *standing = Some(Standing { code, since: now, count: 1, logged: false });
                true
            }
        };
        let is_due = entry.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_EVERY);
        let in_grace = entry.standing.as_ref().is_some_and(|standing| standing.in_grace(now));
        if in_grace || !(is_new || is_due) {
            return;
        }
        if let Some(standing) = &mut entry.standing {
            standing.logged = true;
        }
        let advice = advice::refusal(code, topic);
        tracing::warn!(topic, key, error = ?code, refused = entry.since_logged, advice, "kafka refuses records");
        (entry.logged, entry.since_logged) = (Some(now), 0);
    }

    /// Notes that the brokers accepted a record of `kind`.
    pub(crate) fn accepted(&mut self, kind: RecordKind, now: Instant) {
        let Some(standing) = self.kinds.get_mut(&kind).and_then(|entry| entry.standing.take()) else {
            return;
        };
        if standing.logged {
            let topic = self.topics.of(kind);
            let after_s = now.saturating_duration_since(standing.since).as_secs();
            tracing::info!(topic, refused = standing.count, after_s, "kafka accepts records again");
        }
    }

    /// Returns why the topic of `kind` currently accepts no records, with advice.
    pub(crate) fn standing(&self, kind: RecordKind, now: Instant) -> Option<String> {
        let standing = self.kinds.get(&kind)?.standing.as_ref().filter(|standing| !standing.in_grace(now))?;
        let topic = self.topics.of(kind);
        Some(format!(
            "`{topic}` refuses records: {:?}; {}",
            standing.code,
            advice::refusal(standing.code, topic)
        ))
    }

    pub(crate) fn counts(&self) -> Vec<RefusalCount> {
        let of = |(kind, entry): (&RecordKind, &Kind)| {
            let kind = *kind;
            let count = move |(error, count): (&String, &u64)| RefusalCount {
                kind,
                error: error.clone(),
                count: *count,
            };
            entry.counts.iter().map(count).collect::<Vec<_>>()
        };
        self.kinds.iter().flat_map(of).collect()
    }
}

impl Standing {
    fn in_grace(&self, now: Instant) -> bool {
        advice::is_missing_topic(self.code) && now.saturating_duration_since(self.since) < GRACE_OF_NEW_TOPICS
    }
}

#[cfg(test)]
mod tests {
    use RDKafkaErrorCode::{MessageSizeTooLarge, TopicAuthorizationFailed, UnknownTopicOrPartition};

    use super::*;

    fn refusals() -> Refusals {
        Refusals::new(Topics::new("lookout").unwrap())
    }

    #[test]
    fn reports_a_rejecting_topic_until_it_accepts_a_record() {
        let (now, mut refusals) = (Instant::now(), refusals());
        for _ in 0..3 {
            refusals.refused(RecordKind::Status, (TopicAuthorizationFailed, Scope::Topic), None, now);
        }
        let standing = refusals.standing(RecordKind::Status, now).unwrap();
        assert!(
            standing.contains("`lookout.status.v1`") && standing.contains("TopicAuthorizationFailed"),
            "{standing}"
        );
        assert_eq!(refusals.standing(RecordKind::Frame, now), None);
        refusals.accepted(RecordKind::Status, now);
        assert_eq!(refusals.standing(RecordKind::Status, now), None);
        let counts = refusals.counts();
        assert_eq!(
            (counts.len(), counts[0].error.as_str(), counts[0].count),
            (1, "TopicAuthorizationFailed", 3)
        );
    }

    #[test]
    fn a_rejected_record_does_not_mark_its_topic_as_rejecting() {
        let (now, mut refusals) = (Instant::now(), refusals());
        refusals.refused(RecordKind::Frame, (MessageSizeTooLarge, Scope::Record), Some("gate"), now);
        assert_eq!(refusals.standing(RecordKind::Frame, now), None);
        assert_eq!(refusals.counts()[0].count, 1);
    }

    #[test]
    fn a_missing_topic_is_reported_after_the_grace_time() {
        let (now, mut refusals) = (Instant::now(), refusals());
        let mut refuse = |at| {
            refusals.refused(RecordKind::Frame, (UnknownTopicOrPartition, Scope::Topic), None, at);
            refusals.standing(RecordKind::Frame, at)
        };
        assert_eq!(refuse(now), None);
        assert!(refuse(now + GRACE_OF_NEW_TOPICS).unwrap().contains("does not exist"));
    }
}
