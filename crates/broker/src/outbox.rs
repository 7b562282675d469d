//! The worker's outbox: the records that wait for librdkafka, and those that librdkafka has in flight. This module
//! does no I/O and reads no clock.
//!
//! A record cannot be taken back from librdkafka, so librdkafka gets only a window of them. The others wait here,
//! where the oldest record of a live camera can still be dropped to make room. The records in the window are kept
//! here too, in a table by sequence number ([`SeqNo`]), so that no ticket is lost with a client that fails or never
//! answers.
//!
//! Each camera has a lane, its queue, with a share of the window. A partition that accepts nothing delays only the
//! cameras whose records go to that partition.

mod lane;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lookout_schema::{CameraId, ExpireCause};
use lookout_stage::Ticket;

pub(crate) use lane::BACK_OFF;
use lane::{Lane, Share};

/// The sequence number of a record in the outbox, which is never reused.
pub(crate) type SeqNo = usize;

/// A record that waits for its delivery report.
#[derive(Debug)]
pub(crate) struct PendingRecord {
    pub camera: CameraId,
    pub payload: Vec<u8>,
    pub ticket: Ticket,
    pub since: Instant,
}

impl PendingRecord {
    pub(crate) fn new(camera: CameraId, payload: Vec<u8>, ticket: Ticket, since: Instant) -> Self {
        Self { camera, payload, ticket, since }
    }

    /// Returns the size of key and value in bytes.
    pub(crate) fn size(&self) -> usize {
        self.camera.as_str().len() + self.payload.len()
    }
}

/// The outcome of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// Rejected by the broker; a retry is useless.
    Rejected,
    /// Neither delivered nor rejected; the record is sent again.
    Retry,
}

/// Maximum number of live records, and of records of file sources, in flight in librdkafka; enough for 100,000
/// records per second with 10 ms per round.
const WINDOW: usize = 1000;

/// A lane that had no record for this long is removed when a new camera appears.
const FORGET_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Outbox {
    max_live: usize,
    live_window: usize,
    window_bytes: usize,
    next: SeqNo,
    /// The number of the current round of sending; see [`Lane`].
    round: u64,
    lanes: BTreeMap<CameraId, Lane>,
    /// The camera of each record in flight.
    in_flight: BTreeMap<SeqNo, CameraId>,
    waiting: usize,
    live_waiting: usize,
    live_in_flight: usize,
    /// The client accepts no records until then.
    held_until: Option<Instant>,
}

impl Outbox {
    /// Creates an outbox for `buffer_records` unacknowledged records of live cameras. At most half of them may be in
    /// the window; the others can be dropped. One record may always wait, and one record of each camera may always be
    /// in flight. Records of file sources are limited by their permits. librdkafka has room for `client_bytes`.
    pub(crate) fn new(buffer_records: NonZeroUsize, client_bytes: usize) -> Self {
        let max_live = buffer_records.get();
        Self {
            max_live,
            live_window: (max_live / 2).clamp(1, WINDOW),
            // The other half is for status records, snapshots, and single records that are larger than a share.
            window_bytes: client_bytes / 2,
            next: 0,
            round: 1,
            lanes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            waiting: 0,
            live_waiting: 0,
            live_in_flight: 0,
            held_until: None,
        }
    }

    /// Adds a record. If there are too many live records, the oldest waiting one expires.
    pub(crate) fn push(&mut self, record: PendingRecord) {
        let (seq, now) = (self.next, record.since);
        self.next += 1;
        if !self.lanes.contains_key(&record.camera) {
            self.lanes.retain(|_, lane| {
                !lane.is_empty() || now.saturating_duration_since(lane.last_push()) < FORGET_AFTER
            });
        }
        self.waiting += 1;
        self.live_waiting += usize::from(!record.ticket.is_lossless());
        let lane = self.lanes.entry(record.camera.clone()).or_insert_with(|| Lane::new(now));
        lane.push(seq, record);
        while self.live_waiting > self.max_live.saturating_sub(self.live_in_flight).max(1) {
            let oldest =
                self.lanes.iter().filter_map(|(camera, lane)| Some((lane.oldest_live()?, camera))).min();
            let Some((seq, camera)) = oldest.map(|(seq, camera)| (seq, camera.clone())) else { break };
            self.give_up(&camera, seq, ExpireCause::BufferFull);
        }
    }

    /// Returns the share of each camera. Idle cameras count too: their share has to be free when another camera's
    /// partition is stuck.
    fn share(&self) -> Share {
        let lanes = self.lanes.len().max(1);
        Share {
            live: (self.live_window / lanes).max(1),
            lossless: (WINDOW / lanes).max(1),
            bytes: self.window_bytes / lanes,
        }
    }

    /// Returns the record to send next, if one may be sent now. The caller sends until there is none, then calls
    /// [`Outbox::round_ends`].
    pub(crate) fn next(&self, now: Instant) -> Option<(SeqNo, &PendingRecord)> {
        if self.waiting == 0 || self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        let share = self.share();
        let next = self.lanes.values().filter_map(|lane| lane.next(now, self.round, share));
        next.min_by_key(|(seq, _)| *seq)
    }

    /// Ends the round: everything that could be sent was sent. A camera with records in flight sends no more until
    /// they are answered.
    pub(crate) fn round_ends(&mut self) {
        self.round += 1;
    }

    /// Notes that the record of `camera` at `seq` was passed to librdkafka.
    pub(crate) fn sent(&mut self, camera: &CameraId, seq: SeqNo) {
        self.held_until = None;
        let Some(is_live) = self.lanes.get_mut(camera).and_then(|lane| lane.sent(seq, self.round)) else {
            return;
        };
        self.waiting -= 1;
        self.live_waiting -= usize::from(is_live);
        self.live_in_flight += usize::from(is_live);
        self.in_flight.insert(seq, camera.clone());
    }

    /// Expires the record of `camera` at `seq`, which librdkafka will never accept.
    pub(crate) fn refused(&mut self, camera: &CameraId, seq: SeqNo) {
        if let Some(lane) = self.lanes.get_mut(camera) {
            lane.refused();
        }
        self.give_up(camera, seq, ExpireCause::Rejected);
    }

    fn give_up(&mut self, camera: &CameraId, seq: SeqNo, cause: ExpireCause) {
        if let Some(record) = self.lanes.get_mut(camera).and_then(|lane| lane.take(seq)) {
            self.waiting -= 1;
            self.live_waiting -= usize::from(!record.ticket.is_lossless());
            record.ticket.expired(cause);
        }
    }

    /// Holds all records until `until`, because librdkafka currently accepts none.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }

    /// Holds the records of `camera` for its backoff, because librdkafka currently accepts none of them.
    pub(crate) fn hold_camera(&mut self, camera: &CameraId, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(camera) {
            lane.hold(now);
        }
    }

    /// Returns the record in flight at `seq`.
    pub(crate) fn in_flight_at(&self, seq: SeqNo) -> Option<&PendingRecord> {
        self.lanes.get(self.in_flight.get(&seq)?)?.in_flight.get(&seq)
    }

    /// Applies the outcome of the record at `seq`, and returns its camera. A delivery report for a record that is
    /// no longer in flight is ignored.
    pub(crate) fn settle(&mut self, seq: SeqNo, outcome: Outcome, now: Instant) -> Option<CameraId> {
        let camera = self.in_flight.remove(&seq)?;
        let lane = self.lanes.get_mut(&camera)?;
        let record = lane.answered(seq)?;
        let is_live = usize::from(!record.ticket.is_lossless());
        self.live_in_flight -= is_live;
        match outcome {
            Outcome::Delivered => {
                lane.delivered();
                record.ticket.delivered();
            }
            Outcome::Rejected => {
                lane.refused();
                record.ticket.expired(ExpireCause::Rejected);
            }
            Outcome::Retry => {
                self.waiting += 1;
                self.live_waiting += is_live;
                lane.came_back(seq, record, now);
            }
        }
        Some(camera)
    }

    /// Requeues all records that a failed client had in flight.
    pub(crate) fn requeue(&mut self, now: Instant) {
        let seqs: Vec<SeqNo> = self.in_flight.keys().copied().collect();
        for seq in seqs {
            self.settle(seq, Outcome::Retry, now);
        }
    }

    /// Expires all records.
    pub(crate) fn expire_all(&mut self, cause: ExpireCause) {
        for lane in std::mem::take(&mut self.lanes).into_values() {
            for (_, record) in lane.waiting.into_iter().chain(lane.in_flight) {
                record.ticket.expired(cause);
            }
        }
        self.in_flight.clear();
        (self.waiting, self.live_waiting, self.live_in_flight) = (0, 0, 0);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns when the oldest unsettled record was added.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lanes.values().filter_map(Lane::oldest).min()
    }

    /// Returns the cameras with an unsettled record that was added before `before`, with the time of their oldest
    /// one.
    pub(crate) fn held_up(&self, before: Instant) -> impl Iterator<Item = (&CameraId, Instant)> {
        let old =
            move |(camera, lane)| Lane::oldest(lane).filter(|oldest| *oldest < before).map(|at| (camera, at));
        self.lanes.iter().filter_map(old)
    }

    /// Returns the cameras whose records the broker rejects one after the other.
    pub(crate) fn refused_cameras(&self) -> impl Iterator<Item = &CameraId> {
        self.lanes.iter().filter(|(_, lane)| lane.is_refused()).map(|(camera, _)| camera)
    }
}

#[cfg(test)]
mod tests;
