//! The records between the worker and librdkafka, and those that librdkafka has. Pure: it sends nothing
//! and reads no clock.
//!
//! librdkafka cannot give back a record that it holds, so it is handed only a window of them; the rest
//! waits here, where the oldest record of a live camera can still make room. The records in the window
//! are kept here too, in a table by place, rather than in librdkafka's hands: so a client that dies, or
//! that never answers, takes no ticket with it.
//!
//! Each camera has a lane with a share of the window. A partition that takes nothing holds up the cameras
//! whose records go there, and no other camera.

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

/// A record's place in the order in which records came; never given twice.
pub(crate) type Place = usize;

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub camera: CameraId,
    pub payload: Vec<u8>,
    pub ticket: Ticket,
    pub since: Instant,
}

impl Outgoing {
    pub(crate) fn new(camera: CameraId, payload: Vec<u8>, ticket: Ticket, since: Instant) -> Self {
        Self { camera, payload, ticket, since }
    }

    /// Its bytes of key and value.
    pub(crate) fn size(&self) -> usize {
        self.camera.as_str().len() + self.payload.len()
    }
}

/// What became of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// Refused for good.
    Rejected,
    /// Neither delivered nor refused for good: it is sent again.
    Returned,
}

/// Most records of one kind that librdkafka is handed at once; ample for 100,000 a second at 10 ms a round.
const WINDOW: usize = 1000;

/// A lane that had no record for this long is forgotten when a new camera comes.
const FORGET_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Outbox {
    max_live: usize,
    live_window: usize,
    window_bytes: usize,
    next: Place,
    /// Counts the times that records were sent; see [`Lane`].
    round: u64,
    lanes: BTreeMap<CameraId, Lane>,
    /// Whose the records in flight are.
    in_flight: BTreeMap<Place, CameraId>,
    waiting: usize,
    live_waiting: usize,
    live_in_flight: usize,
    /// The client takes no records until then.
    held_until: Option<Instant>,
}

impl Outbox {
    /// An outbox for `buffer_records` records of live cameras that are not acknowledged. Half of them may
    /// be in the window, the rest can make room; one may always wait, and one of each camera may always be in
    /// flight. Records of lossless sources are as many as their permits. librdkafka has room for `client_bytes`.
    pub(crate) fn new(buffer_records: NonZeroUsize, client_bytes: usize) -> Self {
        let max_live = buffer_records.get();
        Self {
            max_live,
            live_window: (max_live / 2).clamp(1, WINDOW),
            // The other half is for status records, snapshots, and records that are alone larger than a share.
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

    /// Takes a record; where live records are too many, the oldest of those that wait expires.
    pub(crate) fn push(&mut self, record: Outgoing) {
        let (place, now) = (self.next, record.since);
        self.next += 1;
        if !self.lanes.contains_key(&record.camera) {
            self.lanes.retain(|_, lane| {
                !lane.is_empty() || now.saturating_duration_since(lane.last_push()) < FORGET_AFTER
            });
        }
        self.waiting += 1;
        self.live_waiting += usize::from(!record.ticket.is_lossless());
        let lane = self.lanes.entry(record.camera.clone()).or_insert_with(|| Lane::new(now));
        lane.push(place, record);
        while self.live_waiting > self.max_live.saturating_sub(self.live_in_flight).max(1) {
            let oldest =
                self.lanes.iter().filter_map(|(camera, lane)| Some((lane.oldest_live()?, camera))).min();
            let Some((place, camera)) = oldest.map(|(place, camera)| (place, camera.clone())) else { break };
            self.give_up(&camera, place, ExpireCause::BufferFull);
        }
    }

    /// The share of each camera. It counts those with nothing under way too: what they need has to be free when
    /// another camera's partition stands still.
    fn share(&self) -> Share {
        let lanes = self.lanes.len().max(1);
        Share {
            live: (self.live_window / lanes).max(1),
            lossless: (WINDOW / lanes).max(1),
            bytes: self.window_bytes / lanes,
        }
    }

    /// The record to send next, if one may be sent now. Once there is none, [`Outbox::round_ends`] is called.
    pub(crate) fn next(&self, now: Instant) -> Option<(Place, &Outgoing)> {
        if self.waiting == 0 || self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        let share = self.share();
        let next = self.lanes.values().filter_map(|lane| lane.next(now, self.round, share));
        next.min_by_key(|(place, _)| *place)
    }

    /// All that could be sent was sent. What comes later for a camera waits for the answers to this.
    pub(crate) fn round_ends(&mut self) {
        self.round += 1;
    }

    /// The record of `camera` at `place` was handed to librdkafka.
    pub(crate) fn sent(&mut self, camera: &CameraId, place: Place) {
        self.held_until = None;
        let Some(is_live) = self.lanes.get_mut(camera).and_then(|lane| lane.sent(place, self.round)) else {
            return;
        };
        self.waiting -= 1;
        self.live_waiting -= usize::from(is_live);
        self.live_in_flight += usize::from(is_live);
        self.in_flight.insert(place, camera.clone());
    }

    /// librdkafka would not take the record of `camera` at `place`, ever.
    pub(crate) fn refused(&mut self, camera: &CameraId, place: Place) {
        if let Some(lane) = self.lanes.get_mut(camera) {
            lane.refused();
        }
        self.give_up(camera, place, ExpireCause::Rejected);
    }

    fn give_up(&mut self, camera: &CameraId, place: Place, cause: ExpireCause) {
        if let Some(record) = self.lanes.get_mut(camera).and_then(|lane| lane.take(place)) {
            self.waiting -= 1;
            self.live_waiting -= usize::from(!record.ticket.is_lossless());
            record.ticket.expired(cause);
        }
    }

    /// librdkafka takes nothing now.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }

    /// librdkafka takes nothing of `camera` now.
    pub(crate) fn hold_camera(&mut self, camera: &CameraId, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(camera) {
            lane.hold(now);
        }
    }

    /// The record in flight at `place`.
    pub(crate) fn in_flight_at(&self, place: Place) -> Option<&Outgoing> {
        self.lanes.get(self.in_flight.get(&place)?)?.in_flight.get(&place)
    }

    /// What became of the record at `place`; an answer for one that is no longer in flight is ignored.
    /// Gives the record's camera.
    pub(crate) fn settle(&mut self, place: Place, outcome: Outcome, now: Instant) -> Option<CameraId> {
        let camera = self.in_flight.remove(&place)?;
        let lane = self.lanes.get_mut(&camera)?;
        let record = lane.answered(place)?;
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
            Outcome::Returned => {
                self.waiting += 1;
                self.live_waiting += is_live;
                lane.came_back(place, record, now);
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

    /// When the oldest record that is not settled came.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lanes.values().filter_map(Lane::oldest).min()
    }

    /// The cameras with a record that came before `before` and is not settled, with the time it came.
    pub(crate) fn held_up(&self, before: Instant) -> impl Iterator<Item = (&CameraId, Instant)> {
        let old =
            move |(camera, lane)| Lane::oldest(lane).filter(|oldest| *oldest < before).map(|at| (camera, at));
        self.lanes.iter().filter_map(old)
    }

    /// The cameras whose records the broker refuses one after the other.
    pub(crate) fn refused_cameras(&self) -> impl Iterator<Item = &CameraId> {
        self.lanes.iter().filter(|(_, lane)| lane.is_refused()).map(|(camera, _)| camera)
    }
}

#[cfg(test)]
mod tests;
