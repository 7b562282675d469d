//! Whether a consumer's client fetches its assigned partitions, and whether a topic is still the same one.
//!
//! librdkafka reports no error while brokers are down, partitions have no leader or rights were revoked. Its
//! statistics show each of these cases per partition. Its API does not report two facts that a consumer needs: that a
//! topic was deleted and recreated, and that an offset was reset because its records are gone. librdkafka logs both,
//! so [`Fetching::log`] parses its log lines. A reader that misses such a line still notices offsets that run
//! backwards.

pub(crate) mod lines;
mod standing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{ClientConfig, Statistics, config::RDKafkaLogLevel, error::RDKafkaErrorCode};

use self::{
    lines::Line,
    standing::{Group, Snapshot, Standing},
};
use crate::{
    client::{Redactor, is_denied, known_brokers},
    context::log,
};

/// The interval of librdkafka's statistics, in milliseconds.
const OBSERVE_MS: &str = "500";
/// A broker whose answer is overdue by more than this, beyond the time it may wait for records, counts as silent.
const SILENT_MS: i64 = 1_500;
/// librdkafka's default of `fetch.wait.max.ms`.
const DEFAULT_WAIT_MS: i64 = 500;
/// Older statistics mean that the client is not being polled.
const STALE: Duration = Duration::from_secs(10);
/// Within this time, a partition may move to another broker, or a client may reconnect, without being reported.
const GRACE: Duration = Duration::from_secs(2);

/// The state that a consumer's client reports, shared with its callbacks.
pub(crate) struct Fetching {
    redactor: Redactor,
    /// Whether the user asked for librdkafka's debug lines.
    debug: bool,
    /// How long a broker's answer may be outstanding, in microseconds.
    silent_us: i64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// `host:port` of each broker.
    brokers: Vec<String>,
    snapshot: Option<(Instant, Snapshot)>,
    /// Since when each partition has not been fetched.
    since: BTreeMap<(String, i32), Instant>,
    /// Since when the client has not been joined to its group.
    group_since: Option<Instant>,
    /// Whether any partition was ever fetched.
    has_fetched: bool,
    /// The last denial and the last other error; cleared once everything is fetched.
    refusal: Option<(RDKafkaErrorCode, String)>,
    error: Option<(RDKafkaErrorCode, String)>,
    /// When the client last received records that it cannot decode, with the error code.
    undecodable: Option<(Instant, RDKafkaErrorCode)>,
    topic_ids: BTreeMap<String, String>,
    recreated: BTreeSet<String>,
    /// The offsets at which a partition was to be read and which it did not have.
    reset_from: BTreeMap<(String, i32), i64>,
}

impl Fetching {
    pub(crate) fn new(redactor: Redactor, config: &ClientConfig) -> Self {
        let debug = matches!(config.log_level, RDKafkaLogLevel::Debug);
        let wait_ms =
            config.get("fetch.wait.max.ms").and_then(|ms| ms.parse().ok()).unwrap_or(DEFAULT_WAIT_MS);
        let silent_us = (SILENT_MS + wait_ms).saturating_mul(1_000);
        Self { redactor, debug, silent_us, seen: Mutex::default() }
    }

    /// Adds the settings that this module needs. Must be called after [`Self::new`], which reads the user's own
    /// settings.
    pub(crate) fn configure(config: &mut ClientConfig) {
        config.set("statistics.interval.ms", OBSERVE_MS);
        lines::configure(config);
    }

    /// Forwards one of librdkafka's log lines, and updates the state from it.
    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match lines::read(facility, line) {
            Some(Line::TopicId { topic, id }) => self.seen().take_topic_id(topic, id),
            Some(Line::OffsetReset { topic, partition, from }) => {
                self.seen().reset_from.insert((topic.to_owned(), partition), from);
            }
            None => {}
        }
        if self.debug || !matches!(level, RDKafkaLogLevel::Debug) {
            log(&self.redactor, level, facility, line);
        }
    }

    pub(crate) fn observe(&self, statistics: &Statistics, now: Instant) {
        let snapshot = Snapshot::of(statistics, self.silent_us);
        let mut seen = self.seen();
        seen.brokers = known_brokers(statistics);
        let Seen { since, group_since, .. } = &mut *seen;
        since.retain(|place, _| snapshot.partitions.contains_key(place));
        for (place, standing) in &snapshot.partitions {
            match standing {
                Standing::Fetched => drop(since.remove(place)),
                _ => drop(since.entry(place.clone()).or_insert(now)),
            }
        }
        match snapshot.group {
            Some(Group::Joined) | None => *group_since = None,
            Some(Group::Joining) => drop(group_since.get_or_insert(now)),
        }
        let fetched = |standing: &Standing| *standing == Standing::Fetched;
        seen.has_fetched |= snapshot.partitions.values().any(fetched);
        seen.snapshot = Some((now, snapshot));
    }

    /// Stores an error that the client reports. librdkafka repeats the error for each attempt, so the owner of the
    /// client logs the consequence instead.
    pub(crate) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        let reason = self.redactor.redact(reason);
        tracing::debug!(?code, reason, "a kafka consumer reports an error, it retries");
        let mut seen = self.seen();
        if is_denied(code) {
            seen.refusal = Some((code, reason));
        } else if is_undecodable(code) {
            seen.undecodable = Some((Instant::now(), code));
        } else if code != RDKafkaErrorCode::AllBrokersDown || seen.error.is_none() {
            // The error of one connection is more informative than `AllBrokersDown`.
            seen.error = Some((code, reason));
        }
    }

    /// Returns the last denial, if the brokers currently deny anything.
    pub(crate) fn refusal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.seen().refusal.clone()
    }

    /// Returns the last error as text.
    pub(crate) fn last_reason(&self) -> Option<String> {
        let seen = self.seen();
        seen.refusal.as_ref().or(seen.error.as_ref()).map(|(_, reason)| reason.clone())
    }

    /// Returns why records cannot be decoded, if that happened recently: librdkafka fetches such records
    /// repeatedly.
    pub(crate) fn undecodable(&self, now: Instant) -> Option<String> {
        let (at, code) = self.seen().undecodable?;
        let is_late = now.saturating_duration_since(at) < STALE;
        is_late.then(|| {
            format!("records cannot be decompressed or are corrupt, so their partition is not read further: {code}")
        })
    }

    /// Clears earlier errors, because everything is fetched.
    pub(crate) fn recovered(&self) {
        let mut seen = self.seen();
        (seen.error, seen.refusal) = (None, None);
    }

    /// Returns `host:port` of the brokers that the client knows.
    pub(crate) fn brokers(&self) -> Vec<String> {
        self.seen().brokers.clone()
    }

    /// Returns whether anything was ever fetched.
    pub(crate) fn has_fetched(&self) -> bool {
        self.seen().has_fetched
    }

    /// Returns why `partition` of `topic`, assigned at `assigned`, is not fetched; `None` if it is.
    pub(crate) fn trouble(
        &self,
        topic: &str,
        partition: i32,
        assigned: Instant,
        now: Instant,
    ) -> Option<String> {
        let seen = self.seen();
        let place = (topic.to_owned(), partition);
        let known = seen.snapshot.as_ref().and_then(|(_, snapshot)| snapshot.partitions.get(&place));
        let standing = known.unwrap_or(&Standing::Pending);
        let since = seen.since.get(&place).copied().unwrap_or(assigned).max(assigned);
        let is_refused = matches!(standing, Standing::Refused | Standing::Unknown) && seen.refusal.is_some();
        let is_short = now.saturating_duration_since(since) <= GRACE;
        if *standing == Standing::Fetched || (is_short && !is_refused) {
            return None;
        }
        let reason = seen.reason();
        Some(format!("partition {partition} of `{topic}` {standing}{reason}"))
    }

    /// Returns whether `partition` of `topic` was fetched according to the last statistics, if these are recent.
    pub(crate) fn is_fetched(&self, topic: &str, partition: i32, now: Instant) -> bool {
        let seen = self.seen();
        let Some((at, snapshot)) = &seen.snapshot else { return false };
        let standing = snapshot.partitions.get(&(topic.to_owned(), partition));
        now.saturating_duration_since(*at) <= GRACE && standing == Some(&Standing::Fetched)
    }

    /// Returns why the group is not joined; `None` if it is.
    pub(crate) fn group_trouble(&self, now: Instant) -> Option<String> {
        let seen = self.seen();
        let joined = matches!(&seen.snapshot, Some((_, Snapshot { group: Some(Group::Joined), .. })));
        let waited = seen.group_since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if joined || (seen.has_fetched && waited <= GRACE) {
            return None;
        }
        Some(format!("the consumer group is not joined{}", seen.reason()))
    }

    /// Returns whether the client is not being polled, or its first statistics are overdue since `started`.
    pub(crate) fn is_stale(&self, started: Instant, now: Instant) -> bool {
        let at = self.seen().snapshot.as_ref().map_or(started, |(at, _)| *at);
        now.saturating_duration_since(at) > STALE
    }

    /// Returns the id of `topic`, if the brokers have topic ids.
    pub(crate) fn topic_id(&self, topic: &str) -> Option<String> {
        self.seen().topic_ids.get(topic).cloned()
    }

    /// Sets the id of `topic` that was stored earlier. If the topic now has another id, it was recreated.
    pub(crate) fn expect_topic_id(&self, topic: &str, id: &str) {
        self.seen().topic_ids.insert(topic.to_owned(), id.to_owned());
    }

    /// Returns whether `topic` was recreated since the last call of [`Self::take_recreated`]. This is known before
    /// the first record of the new topic arrives.
    pub(crate) fn is_recreated(&self, topic: &str) -> bool {
        self.seen().recreated.contains(topic)
    }

    /// Returns the topics that were recreated since the last call.
    pub(crate) fn take_recreated(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.seen().recreated)
    }

    /// Returns the missing offset of `partition` of `topic`, if the offset was reset since the last call.
    pub(crate) fn take_reset(&self, topic: &str, partition: i32) -> Option<i64> {
        let mut seen = self.seen();
        if seen.reset_from.is_empty() {
            return None;
        }
        seen.reset_from.remove(&(topic.to_owned(), partition))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_undecodable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{BadCompression, BadMessage, InvalidMessage, NotImplemented};
    matches!(code, BadCompression | BadMessage | InvalidMessage | NotImplemented)
}

impl Seen {
    /// Returns the last error as a suffix for the message about its consequence.
    fn reason(&self) -> String {
        let reason = self.refusal.as_ref().or(self.error.as_ref());
        reason.map(|(_, reason)| format!(": {reason}")).unwrap_or_default()
    }

    fn take_topic_id(&mut self, topic: &str, id: &str) {
        let before = self.topic_ids.insert(topic.to_owned(), id.to_owned());
        if before.is_some_and(|before| before != id) {
            self.recreated.insert(topic.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetching() -> Fetching {
        Fetching::new(Redactor::default(), &ClientConfig::new())
    }

    #[test]
    fn a_changed_topic_id_means_that_the_topic_was_recreated() {
        let fetching = fetching();
        let line = |from: &str, to: &str| {
            let line = format!("[thrd:main]: Topic lookout.frames changed id from {from} to {to}");
            fetching.log(RDKafkaLogLevel::Debug, "METADATA", &line);
        };
        line(lines::NO_ID, "bm9va2E");
        // A client that forgot the topic and queries it again.
        line(lines::NO_ID, "bm9va2E");
        assert!(fetching.take_recreated().is_empty());
        line("bm9va2E", "b3RoZXI");
        assert_eq!(fetching.take_recreated(), ["lookout.frames".to_owned()].into());
        assert!(fetching.take_recreated().is_empty());
        assert_eq!(fetching.topic_id("lookout.frames").as_deref(), Some("b3RoZXI"));
    }

    #[test]
    fn reports_an_unfetched_partition_after_the_grace_time_and_a_denial_at_once() {
        let fetching = fetching();
        let started = Instant::now();
        let later = started + GRACE + Duration::from_millis(1);
        assert_eq!(fetching.trouble("t", 0, started, started), None);
        assert!(fetching.trouble("t", 0, started, later).is_some());
        let mut statistics = standing::statistics("UP", 0, -1);
        fetching.observe(&statistics, started);
        fetching.error(RDKafkaErrorCode::TopicAuthorizationFailed, "no READ");
        let trouble = fetching.trouble("t", 0, started, started).unwrap_or_default();
        assert!(
            trouble.contains("its broker returned an error: no READ") && !fetching.has_fetched(),
            "{trouble}"
        );
        statistics = standing::statistics("UP", 0, 7);
        fetching.observe(&statistics, later);
        assert!(fetching.trouble("t", 0, started, later).is_none() && fetching.has_fetched());
        fetching.recovered();
        assert_eq!(fetching.refusal(), None);
        assert!(!fetching.is_stale(started, later + STALE) && fetching.is_stale(started, later + STALE * 2));
    }
}
