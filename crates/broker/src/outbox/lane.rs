//! The outbox's records of one camera.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lookout_stage::ExponentialBackoff;

use super::{PendingRecord, SeqNo};

/// The first backoff of a camera after one of its records was returned.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(500);
/// The longest backoff. The backoff doubles while nothing is delivered.
pub(crate) const MAX_BACK_OFF: Duration = Duration::from_secs(4);
/// Maximum number of bytes of one camera in flight in librdkafka. A group of this size fits into one batch.
pub(crate) const GROUP_BYTES: usize = 256 * 1024;
/// After this many rejected records without a delivered one, the camera counts as rejected.
const REFUSED_IN_A_ROW: u32 = 3;

/// How much one camera may have in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) live: usize,
    pub(super) lossless: usize,
    pub(super) bytes: usize,
}

/// The records of one camera: those that wait, and the group that is in flight in librdkafka.
///
/// librdkafka can fail a batch and deliver the next one, so a record that is sent while an earlier one is in flight
/// may overtake it. The records of a camera are therefore sent in groups: the next group is sent after the broker has
/// answered for every record of the previous group.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) waiting: BTreeMap<SeqNo, PendingRecord>,
    pub(super) in_flight: BTreeMap<SeqNo, PendingRecord>,
    /// The number of waiting records that may expire.
    pub(super) live_waiting: usize,
    in_flight_bytes: usize,
    live_in_flight: usize,
    /// The round in which the group was sent. Records join the group in this round only.
    round: u64,
    /// Set after a record was returned: nothing is sent until then.
    held_until: Option<Instant>,
    back_off: ExponentialBackoff,
    /// Whether a record was returned and none was delivered since. One record is then sent at a time.
    cautious: bool,
    refused_in_a_row: u32,
    last_push: Instant,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            live_waiting: 0,
            in_flight_bytes: 0,
            live_in_flight: 0,
            round: 0,
            held_until: None,
            back_off: ExponentialBackoff::new(BACK_OFF, MAX_BACK_OFF),
            cautious: false,
            refused_in_a_row: 0,
            last_push: now,
        }
    }

    pub(super) fn push(&mut self, seq: SeqNo, record: PendingRecord) {
        self.last_push = self.last_push.max(record.since);
        self.wait(seq, record);
    }

    fn wait(&mut self, seq: SeqNo, record: PendingRecord) {
        self.live_waiting += usize::from(!record.ticket.is_lossless());
        self.waiting.insert(seq, record);
    }

    /// Returns the record to send next, if one may be sent now.
    pub(super) fn next(&self, now: Instant, round: u64, share: Share) -> Option<(SeqNo, &PendingRecord)> {
        let (seq, record) = self.waiting.first_key_value()?;
        if self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        if self.in_flight.is_empty() {
            return Some((*seq, record));
        }
        let (in_flight, window) = if record.ticket.is_lossless() {
            (self.in_flight.len() - self.live_in_flight, share.lossless)
        } else {
            (self.live_in_flight, share.live)
        };
        let joins = self.round == round
            && !self.cautious
            && in_flight < window
            && self.in_flight_bytes + record.size() <= share.bytes.min(GROUP_BYTES);
        joins.then_some((*seq, record))
    }

    /// Moves the record at `seq` to the records in flight. Returns whether it is a live camera's.
    pub(super) fn sent(&mut self, seq: SeqNo, round: u64) -> Option<bool> {
        let mut record = self.take(seq)?;
        record.ticket.sent();
        let is_live = !record.ticket.is_lossless();
        self.live_in_flight += usize::from(is_live);
        self.in_flight_bytes += record.size();
        self.in_flight.insert(seq, record);
        self.round = round;
        self.held_until = None;
        Some(is_live)
    }

    /// Removes a waiting record.
    pub(super) fn take(&mut self, seq: SeqNo) -> Option<PendingRecord> {
        let record = self.waiting.remove(&seq)?;
        self.live_waiting -= usize::from(!record.ticket.is_lossless());
        Some(record)
    }

    /// Removes a record in flight that was answered.
    pub(super) fn answered(&mut self, seq: SeqNo) -> Option<PendingRecord> {
        let record = self.in_flight.remove(&seq)?;
        self.live_in_flight -= usize::from(!record.ticket.is_lossless());
        self.in_flight_bytes -= record.size();
        Some(record)
    }

    /// Returns the sequence number of the oldest waiting record that may expire.
    pub(super) fn oldest_live(&self) -> Option<SeqNo> {
        if self.live_waiting == 0 {
            return None;
        }
        self.waiting.iter().find(|(_, record)| !record.ticket.is_lossless()).map(|(seq, _)| *seq)
    }

    pub(super) fn delivered(&mut self) {
        self.cautious = false;
        self.back_off.reset();
        self.refused_in_a_row = 0;
    }

    pub(super) fn refused(&mut self) {
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
    }

    /// Requeues `record`, which was neither delivered nor rejected.
    pub(super) fn came_back(&mut self, seq: SeqNo, mut record: PendingRecord, now: Instant) {
        record.ticket.returned();
        self.wait(seq, record);
        self.hold(now);
    }

    /// Sends nothing until the backoff has passed.
    pub(super) fn hold(&mut self, now: Instant) {
        // The delivery reports of one group arrive together, and count once.
        if self.held_until.is_none_or(|until| until <= now) {
            self.held_until = Some(now + self.back_off.next_wait());
        }
        self.cautious = true;
    }

    /// Returns whether the broker rejects this camera's records one after the other.
    pub(super) fn is_refused(&self) -> bool {
        self.refused_in_a_row >= REFUSED_IN_A_ROW
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Returns when the last record was added.
    pub(super) fn last_push(&self) -> Instant {
        self.last_push
    }

    /// Returns when the oldest unanswered record was added.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let first = [&self.waiting, &self.in_flight].map(BTreeMap::first_key_value);
        first.into_iter().flatten().map(|(_, record)| record.since).min()
    }
}
