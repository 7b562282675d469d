//! When a batch is closed, and who has a place in it.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lookout_schema::DropCause;
use lookout_stage::{BatchClosed, CameraQueue, Frame, FrameBatch};

use crate::lane::{Freshness, Lane};

/// When a batch is closed.
#[derive(Debug, Clone, Copy)]
pub struct BatchPolicy {
    /// Frames in a batch at most; of live ones never more than, at the device's pace, are done within about `max_age`.
    pub max_size: NonZeroUsize,
    /// How long a frame may wait for others while the device is busy.
    pub max_wait: Duration,
    /// Age at which a live frame is dropped with [`DropCause::Stale`]. A camera's newest frame may get older where the
    /// device takes longer than this for one frame of each camera: so long it may wait for its turn.
    pub max_age: Duration,
}

/// What the device could do with a batch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: its next batch is made up already, or a later one would be as good and fuller.
    None,
    /// Take a batch that is full or has waited long enough, while it works on another.
    Prefetch,
    /// Begin at once with whatever there is.
    Idle,
}

/// What came of a poll.
#[derive(Debug)]
pub enum Polled {
    Batch(FrameBatch),
    /// Poll again when a frame comes or the demand changes, or at `until`.
    Wait {
        until: Option<Instant>,
    },
}

/// Makes batches of the frames of many cameras.
///
/// A batch takes a frame from each camera that has one before it takes a second from any, and never waits for a
/// camera. Where there is no room for all, the cameras that have had the fewest places come first, so that a device
/// that is too slow serves all of them alike. Frames stay in their cameras' queues until a batch is closed, so that
/// what is dropped there while the device is busy is always the oldest.
#[derive(Debug)]
pub struct Batcher {
    policy: BatchPolicy,
    /// What the device takes for a frame, where that is known.
    pace: Option<Duration>,
    /// Frames in a batch at most, below the policy's `max_size`.
    limit: Option<NonZeroUsize>,
    lanes: Vec<Lane>,
    /// Batches that were picked.
    batches: u64,
}

/// Places behind the others at which a camera is waited for.
const BEHIND: u64 = 4;

/// Places that a camera can catch up on after it had no frame to offer while others had. More than [`BEHIND`]: the
/// others differ among themselves too, and all of them have to be that far ahead.
const CREDIT: u64 = 2 * BEHIND;

impl Batcher {
    pub fn new(policy: BatchPolicy) -> Self {
        Self { policy, pace: None, limit: None, lanes: Vec::new(), batches: 0 }
    }

    /// Says what the device takes for a frame of a batch. Live frames that are fresh when they are taken would be old
    /// when a large batch of a slow network is done, as detectors' on a CPU, which a batch does not make faster.
    pub fn set_pace(&mut self, per_frame: Duration) {
        self.pace = Some(per_frame);
    }

    /// Limits the next batches to so many frames; none is as the policy says.
    pub fn set_limit(&mut self, frames: Option<NonZeroUsize>) {
        self.limit = frames;
    }

    /// Whether there are live cameras, and a device that takes `took` for a frame makes it older than it may get.
    pub fn would_be_old(&self, took: Duration) -> bool {
        took > self.policy.max_age && self.lanes.iter().any(|lane| lane.live)
    }

    /// Takes a camera in; it leaves by itself when its queue has ended.
    pub fn add(&mut self, queue: CameraQueue) {
        let turns = self.most_turns();
        self.lanes.push(Lane::new(queue, turns));
    }

    /// Whether every camera has ended and every frame has been in a batch.
    pub fn is_over(&self) -> bool {
        self.lanes.is_empty()
    }

    /// A batch, where it is time for one.
    pub fn poll(&mut self, now: Instant, demand: Demand) -> Polled {
        if demand == Demand::None {
            return Polled::Wait { until: None };
        }
        self.advance(now);
        let Some(oldest) = self.lanes.iter().filter_map(Lane::ready_at).min() else {
            return Polled::Wait { until: None };
        };
        let deadline = oldest + self.policy.max_wait;
        let waiting: usize = self.lanes.iter().map(Lane::waiting).sum();
        let room = self.room();
        if demand == Demand::Prefetch && waiting < room && now < deadline {
            return Polled::Wait { until: Some(deadline) };
        }
        if let Some(until) = self.held(now) {
            return Polled::Wait { until: Some(until) };
        }
        let frames = self.pick(now, room);
        let closed_by = if frames.len() == room {
            BatchClosed::Full
        } else if self.lanes.is_empty() {
            BatchClosed::Drain
        } else if demand == Demand::Idle {
            BatchClosed::Idle
        } else {
            BatchClosed::Deadline
        };
        Polled::Batch(FrameBatch { frames, closed_by })
    }

    /// Drops every frame that is not in a batch yet, and forgets the cameras.
    pub fn abandon(&mut self, cause: DropCause) {
        self.lanes.drain(..).for_each(|lane| lane.abandon(cause));
    }

    fn advance(&mut self, now: Instant) {
        let freshness = self.freshness();
        self.lanes.iter_mut().for_each(|lane| lane.advance(now, freshness));
        self.lanes.retain(|lane| !lane.is_over());
    }

    /// Until when the device is held free for a camera that has fallen behind the others by [`BEHIND`] places, because
    /// its frames come at the wrong moment each time. It costs the device the time of one frame at most.
    fn held(&self, now: Instant) -> Option<Instant> {
        let pace = self.pace?;
        let turns = |lane: &Lane| lane.turns.max(self.least_turns());
        let owed = self.owed(now)?;
        let ready = || self.lanes.iter().filter_map(|lane| Some((lane, lane.ready_at()?)));
        let first = ready().map(|(lane, _)| turns(lane)).min()?;
        let until = ready().map(|(_, ready_at)| ready_at).min()? + pace;
        (first >= owed + BEHIND && now < until).then_some(until)
    }

    /// The fewest places that a camera has had which lost frames lately and has none to offer now.
    fn owed(&self, now: Instant) -> Option<u64> {
        // A camera that has lost no frame for longer sends none, or gets what it needs.
        let lately = self.round().saturating_mul(BEHIND as u32);
        let turns = |lane: &Lane| lane.turns.max(self.least_turns());
        self.lanes.iter().filter(|lane| lane.is_owed(now, lately)).map(turns).min()
    }

    /// How long the device takes for a frame of every camera.
    fn round(&self) -> Duration {
        let cameras = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        self.pace.map_or(Duration::ZERO, |pace| pace.saturating_mul(cameras))
    }

    fn freshness(&self) -> Freshness {
        let max_age = self.policy.max_age;
        Freshness { max_age, grace: max_age.max(self.round()) }
    }

    fn most_turns(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.turns).max().unwrap_or(0)
    }

    /// What a camera is credited with that has had fewer places.
    fn least_turns(&self) -> u64 {
        self.most_turns().saturating_sub(CREDIT)
    }

    /// How many frames the next batch may have.
    fn room(&self) -> usize {
        if self.lanes.iter().any(Lane::is_live) { self.live_room() } else { self.most() }
    }

    fn most(&self) -> usize {
        self.policy.max_size.min(self.limit.unwrap_or(self.policy.max_size)).get()
    }

    /// How many frames a batch with live ones may have. Rounded up, so that a device that does more frames in little
    /// more time is found out.
    fn live_room(&self) -> usize {
        let most = self.most();
        match self.pace {
            Some(pace) if !pace.is_zero() => {
                let fresh = self.policy.max_age.as_nanos().div_ceil(pace.as_nanos()).max(1);
                usize::try_from(fresh).map_or(most, |fresh| fresh.min(most))
            }
            _ => most,
        }
    }

    fn pick(&mut self, now: Instant, room: usize) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(room);
        let freshness = self.freshness();
        self.batches += 1;
        let least = self.least_turns();
        for lane in &mut self.lanes {
            lane.places = 0;
            lane.turns = lane.turns.max(least);
        }
        while frames.len() < room {
            let owed = self.owed(now);
            let places = self.lanes.iter_mut().filter_map(|lane| {
                Some(((lane.places, lane.turns, lane.last_batch, lane.ready_at()?), lane))
            });
            let Some((_, lane)) = places.min_by_key(|(place, _)| *place) else { break };
            // The sooner the device is free again, the sooner the one that is behind has its turn.
            let ahead = owed.is_some_and(|owed| lane.turns >= owed + BEHIND);
            if lane.places > 0 && lane.is_live() && ahead {
                break;
            }
            frames.extend(lane.take_head());
            lane.places += 1;
            lane.turns += 1;
            lane.last_batch = self.batches;
            lane.advance(now, freshness);
        }
        self.lanes.retain(|lane| !lane.is_over());
        frames
    }
}
