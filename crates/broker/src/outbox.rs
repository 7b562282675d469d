//! The records between the worker and librdkafka, and those that librdkafka has. Pure: it sends nothing
//! and reads no clock.
//!
//! librdkafka cannot give back a record that it holds, so it is handed only a window of them; the rest
//! waits here, where the oldest record of a live camera can still make room. The records in the window
//! are kept here too, in a table by place, rather than in librdkafka's hands: so a client that dies, or
//! that never answers, takes no ticket with it.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lookout_schema::{CameraId, ExpireCause};
use lookout_stage::Ticket;

/// A record's place in the order in which records came; never given twice.
pub(crate) type Place = usize;

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub camera: CameraId,
    pub payload: Vec<u8>,
    pub ticket: Ticket,
    pub since: Instant,
    /// Sent in a batch that was too large, so it has to be sent by itself.
    alone: bool,
}

impl Outgoing {
    pub(crate) fn new(camera: CameraId, payload: Vec<u8>, ticket: Ticket, since: Instant) -> Self {
        Self { camera, payload, ticket, since, alone: false }
    }
}

/// What became of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// Refused for good.
    Rejected,
    /// Refused with all the records that went in one batch with it, one of which is too large.
    TooLarge,
    /// Neither delivered nor refused for good: it is sent again.
    Returned,
}

/// Most records that librdkafka is handed at once; ample for 100,000 a second at 10 ms a round.
const WINDOW: usize = 1000;

/// How long nothing is sent after a record came back.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Outbox {
    max_live: usize,
    live_window: usize,
    next: Place,
    live: BTreeMap<Place, Outgoing>,
    lossless: BTreeMap<Place, Outgoing>,
    in_flight: BTreeMap<Place, Outgoing>,
    live_in_flight: usize,
    /// After a record came back: nothing is sent until then, and until the window is empty, so that no
    /// record overtakes it.
    held_until: Option<Instant>,
}

impl Outbox {
    /// An outbox for `buffer_records` records of live cameras that are not acknowledged. Half of them may
    /// be in the window, the rest can make room; one may always wait. Records of lossless sources are as
    /// many as their permits.
    pub(crate) fn new(buffer_records: NonZeroUsize) -> Self {
        let max_live = buffer_records.get();
        Self {
            max_live,
            live_window: (max_live / 2).clamp(1, WINDOW),
            next: 0,
            live: BTreeMap::new(),
            lossless: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            live_in_flight: 0,
            held_until: None,
        }
    }

    /// Takes a record; where live records are too many, the oldest of those that wait expires.
    pub(crate) fn push(&mut self, record: Outgoing) {
        let place = self.next;
        self.next += 1;
        self.wait(place, record);
        while self.live.len() > self.max_live.saturating_sub(self.live_in_flight).max(1) {
            let Some((_, oldest)) = self.live.pop_first() else { break };
            oldest.ticket.expired(ExpireCause::BufferFull);
        }
    }

    fn wait(&mut self, place: Place, record: Outgoing) {
        let waiting = if record.ticket.is_lossless() { &mut self.lossless } else { &mut self.live };
        waiting.insert(place, record);
    }

    /// The record to send next, if one may be sent now.
    pub(crate) fn next(&self, now: Instant) -> Option<(Place, &Outgoing)> {
        if let Some(until) = self.held_until
            && (now < until || !self.in_flight.is_empty())
        {
            return None;
        }
        let live = (self.live_in_flight < self.live_window).then(|| self.live.first_key_value()).flatten();
        let lossless_in_flight = self.in_flight.len() - self.live_in_flight;
        let lossless = (lossless_in_flight < WINDOW).then(|| self.lossless.first_key_value()).flatten();
        let (place, record) = live.into_iter().chain(lossless).min_by_key(|(place, _)| **place)?;
        let alone = record.alone || self.in_flight.values().next().is_some_and(|sent| sent.alone);
        (self.in_flight.is_empty() || !alone).then_some((*place, record))
    }

    /// The record at `place` was handed to librdkafka.
    pub(crate) fn sent(&mut self, place: Place) {
        self.held_until = None;
        let Some(mut record) = self.live.remove(&place).or_else(|| self.lossless.remove(&place)) else {
            return;
        };
        record.ticket.sent();
        self.live_in_flight += usize::from(!record.ticket.is_lossless());
        self.in_flight.insert(place, record);
    }

    /// librdkafka would not take the record at `place`, ever.
    pub(crate) fn refused(&mut self, place: Place) {
        if let Some(record) = self.live.remove(&place).or_else(|| self.lossless.remove(&place)) {
            record.ticket.expired(ExpireCause::Rejected);
        }
    }

    /// librdkafka takes nothing now.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }

    /// What became of the record at `place`; an answer for one that is no longer in flight is ignored.
    /// Gives the record's camera.
    pub(crate) fn settle(&mut self, place: Place, outcome: Outcome, now: Instant) -> Option<CameraId> {
        let mut record = self.in_flight.remove(&place)?;
        self.live_in_flight -= usize::from(!record.ticket.is_lossless());
        let camera = record.camera.clone();
        match outcome {
            Outcome::Delivered => record.ticket.delivered(),
            Outcome::Rejected => record.ticket.expired(ExpireCause::Rejected),
            Outcome::TooLarge if record.alone => record.ticket.expired(ExpireCause::Rejected),
            Outcome::TooLarge | Outcome::Returned => {
                record.alone |= outcome == Outcome::TooLarge;
                record.ticket.returned();
                self.wait(place, record);
                self.hold(now + BACK_OFF);
            }
        }
        Some(camera)
    }

    /// Takes back all that a dead client had.
    pub(crate) fn take_back(&mut self, now: Instant) {
        let places: Vec<Place> = self.in_flight.keys().copied().collect();
        for place in places {
            self.settle(place, Outcome::Returned, now);
        }
    }

    /// Gives all records up.
    pub(crate) fn expire_all(&mut self, cause: ExpireCause) {
        let records = [&mut self.live, &mut self.lossless, &mut self.in_flight];
        for (_, record) in records.into_iter().flat_map(std::mem::take) {
            record.ticket.expired(cause);
        }
        self.live_in_flight = 0;
    }

    pub(crate) fn waiting(&self) -> usize {
        self.live.len() + self.lossless.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// When the oldest record that is not settled came.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let first = [&self.live, &self.lossless, &self.in_flight].map(BTreeMap::first_key_value);
        first.into_iter().flatten().map(|(_, record)| record.since).min()
    }
}

#[cfg(test)]
mod tests;
