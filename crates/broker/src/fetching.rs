//! Whether a consumer's client fetches what is assigned to it, and whether a topic is still the same one.
//!
//! librdkafka waits in silence for brokers that are down, for partitions without a leader and for rights that were
//! taken away. Its statistics show each of these, per partition. Two facts that a consumer must know have no call in
//! its API: that a topic was deleted and recreated, and that an offset was reset because the records there are gone.
//! librdkafka logs both, so [`Fetching::log`] reads them from its log lines. A reader that misses such a line still
//! notices offsets that run backwards.

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

/// How often librdkafka reports its statistics.
const OBSERVE_MS: &str = "500";
/// A broker that owes an answer for longer than this, beyond the time that it may wait for records, does not answer.
const SILENT_MS: i64 = 1_500;
/// librdkafka's default of `fetch.wait.max.ms`.
const DEFAULT_WAIT_MS: i64 = 500;
/// Statistics that are older come from a client that nobody polls.
const STALE: Duration = Duration::from_secs(10);
/// A partition may be moved to another broker, or a connection be made again, within this time.
const GRACE: Duration = Duration::from_secs(2);

/// What a consumer's client reports, shared with its callbacks.
pub(crate) struct Fetching {
    redactor: Redactor,
    /// The user asked for librdkafka's debug lines.
    debug: bool,
    /// How long a broker may owe an answer, in microseconds.
    silent_us: i64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// `host:port` of each broker.
    brokers: Vec<String>,
    snapshot: Option<(Instant, Snapshot)>,
    /// Since when a partition is not fetched.
    since: BTreeMap<(String, i32), Instant>,
    /// Since when the group is not joined.
    group_since: Option<Instant>,
    /// Some partition was fetched at some time.
    has_fetched: bool,
    /// The last error of each kind; cleared once everything is fetched.
    refusal: Option<(RDKafkaErrorCode, String)>,
    error: Option<(RDKafkaErrorCode, String)>,
    /// Records came that the client cannot take apart.
    undecodable: Option<(Instant, RDKafkaErrorCode)>,
    topic_ids: BTreeMap<String, String>,
    recreated: BTreeSet<String>,
    /// The offsets that a partition was to be read from and did not have.
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

    /// Adds the settings that this rests on. To be called after [`Self::new`], which looks at the user's own.
    pub(crate) fn configure(config: &mut ClientConfig) {
        config.set("statistics.interval.ms", OBSERVE_MS);
        lines::configure(config);
    }

    /// Passes one of librdkafka's log lines on, and takes what it says.
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

    /// Notes an error that the client reports. librdkafka repeats it for each try, so whoever owns the client logs what
    /// it leads to instead.
    pub(crate) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        let reason = self.redactor.redact(reason);
        tracing::debug!(?code, reason, "a consumer waits for the brokers");
        let mut seen = self.seen();
        if is_denied(code) {
            seen.refusal = Some((code, reason));
        } else if is_undecodable(code) {
            seen.undecodable = Some((Instant::now(), code));
        } else if code != RDKafkaErrorCode::AllBrokersDown || seen.error.is_none() {
            // What a connection says is more than that none is left.
            seen.error = Some((code, reason));
        }
    }

    /// The refusal that is known, if the brokers refuse anything at present.
    pub(crate) fn refusal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.seen().refusal.clone()
    }

    /// The last error in words.
    pub(crate) fn last_reason(&self) -> Option<String> {
        let seen = self.seen();
        seen.refusal.as_ref().or(seen.error.as_ref()).map(|(_, reason)| reason.clone())
    }

    /// Why records cannot be taken apart, where that has happened lately: librdkafka fetches them over and over.
    pub(crate) fn undecodable(&self, now: Instant) -> Option<String> {
        let (at, code) = self.seen().undecodable?;
        let is_late = now.saturating_duration_since(at) < STALE;
        is_late.then(|| {
            format!("records cannot be decompressed or are damaged, the partition's reader cannot pass them: {code}")
        })
    }

    /// Everything is fetched: earlier errors are over.
    pub(crate) fn recovered(&self) {
        let mut seen = self.seen();
        (seen.error, seen.refusal) = (None, None);
    }

    /// `host:port` of the brokers that the client knows of.
    pub(crate) fn brokers(&self) -> Vec<String> {
        self.seen().brokers.clone()
    }

    /// Whether anything was ever fetched.
    pub(crate) fn has_fetched(&self) -> bool {
        self.seen().has_fetched
    }

    /// Why `topic`'s `partition`, which is assigned since then, is not fetched; none where it is.
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

    /// Whether `topic`'s `partition` was fetched when it was last looked, a moment before `now`.
    pub(crate) fn is_fetched(&self, topic: &str, partition: i32, now: Instant) -> bool {
        let seen = self.seen();
        let Some((at, snapshot)) = &seen.snapshot else { return false };
        let standing = snapshot.partitions.get(&(topic.to_owned(), partition));
        now.saturating_duration_since(*at) <= GRACE && standing == Some(&Standing::Fetched)
    }

    /// Why the group is not joined; none where it is.
    pub(crate) fn group_trouble(&self, now: Instant) -> Option<String> {
        let seen = self.seen();
        let joined = matches!(&seen.snapshot, Some((_, Snapshot { group: Some(Group::Joined), .. })));
        let waited = seen.group_since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if joined || (seen.has_fetched && waited <= GRACE) {
            return None;
        }
        Some(format!("the consumer group is not joined{}", seen.reason()))
    }

    /// Whether nobody polls the client, or its first statistics are missing for too long since `started`.
    pub(crate) fn is_stale(&self, started: Instant, now: Instant) -> bool {
        let at = self.seen().snapshot.as_ref().map_or(started, |(at, _)| *at);
        now.saturating_duration_since(at) > STALE
    }

    /// The id of `topic`, where the brokers give one.
    pub(crate) fn topic_id(&self, topic: &str) -> Option<String> {
        self.seen().topic_ids.get(topic).cloned()
    }

    /// What is known of `topic` from earlier: one with another id was recreated.
    pub(crate) fn expect_topic_id(&self, topic: &str, id: &str) {
        self.seen().topic_ids.insert(topic.to_owned(), id.to_owned());
    }

    /// Whether `topic` was recreated since [`Self::take_recreated`]. Known before the first record of the new topic is.
    pub(crate) fn is_recreated(&self, topic: &str) -> bool {
        self.seen().recreated.contains(topic)
    }

    /// The topics that were recreated since this was asked last.
    pub(crate) fn take_recreated(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.seen().recreated)
    }

    /// The offset of `topic`'s `partition` that was gone, where it was reset since this was asked last.
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
    /// The last error, to be put behind what it leads to.
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
    fn a_topic_is_recreated_once_its_id_changes() {
        let fetching = fetching();
        let line = |from: &str, to: &str| {
            let line = format!("[thrd:main]: Topic lookout.frames changed id from {from} to {to}");
            fetching.log(RDKafkaLogLevel::Debug, "METADATA", &line);
        };
        line(lines::NO_ID, "bm9va2E");
        // A client that forgot the topic and looks it up again.
        line(lines::NO_ID, "bm9va2E");
        assert!(fetching.take_recreated().is_empty());
        line("bm9va2E", "b3RoZXI");
        assert_eq!(fetching.take_recreated(), ["lookout.frames".to_owned()].into());
        assert!(fetching.take_recreated().is_empty());
        assert_eq!(fetching.topic_id("lookout.frames").as_deref(), Some("b3RoZXI"));
    }

    #[test]
    fn a_partition_that_is_not_fetched_is_reported_after_the_grace_time_and_a_refusal_at_once() {
        let fetching = fetching();
        let begun = Instant::now();
        let later = begun + GRACE + Duration::from_millis(1);
        assert_eq!(fetching.trouble("t", 0, begun, begun), None);
        assert!(fetching.trouble("t", 0, begun, later).is_some());
        let mut statistics = standing::statistics("UP", 0, -1);
        fetching.observe(&statistics, begun);
        fetching.error(RDKafkaErrorCode::TopicAuthorizationFailed, "no READ");
        let trouble = fetching.trouble("t", 0, begun, begun).unwrap_or_default();
        assert!(
            trouble.contains("is refused by its broker: no READ") && !fetching.has_fetched(),
            "{trouble}"
        );
        statistics = standing::statistics("UP", 0, 7);
        fetching.observe(&statistics, later);
        assert!(fetching.trouble("t", 0, begun, later).is_none() && fetching.has_fetched());
        fetching.recovered();
        assert_eq!(fetching.refusal(), None);
        assert!(!fetching.is_stale(begun, later + STALE) && fetching.is_stale(begun, later + STALE * 2));
    }
}
