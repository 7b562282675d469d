//! When a batch is closed, and who has a place in it.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lookout_schema::DropCause;
use lookout_stage::{BatchClosed, CameraQueue, Frame, FrameBatch};

use crate::lane::Lane;

/// When a batch is closed.
#[derive(Debug, Clone, Copy)]
pub struct BatchPolicy {
    /// Frames in a batch at most; of live ones never more than, at the device's pace, are done within about `max_age`.
    pub max_size: NonZeroUsize,
    /// How long a frame may wait for others while the device is busy.
    pub max_wait: Duration,
    /// Age at which a live frame is dropped with [`DropCause::Stale`].
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
/// A batch takes a frame from each camera that has one before it takes a second from any, the oldest
/// first, and never waits for a camera. Frames stay in their cameras' queues until a batch is closed, so
/// that what is dropped there while the device is busy is always the oldest.
#[derive(Debug)]
pub struct Batcher {
    policy: BatchPolicy,
    /// What the device takes for a frame, where that is known.
    pace: Option<Duration>,
    lanes: Vec<Lane>,
}

impl Batcher {
    pub fn new(policy: BatchPolicy) -> Self {
        Self { policy, pace: None, lanes: Vec::new() }
    }

    /// Says what the device takes for a frame of a batch. Live frames that are fresh when they are taken would be old
    /// when a large batch of a slow network is done, as detectors' on a CPU, which a batch does not make faster.
    pub fn set_pace(&mut self, per_frame: Duration) {
        self.pace = Some(per_frame);
    }

    /// Takes a camera in; it leaves by itself when its queue has ended.
    pub fn add(&mut self, queue: CameraQueue) {
        self.lanes.push(Lane::new(queue));
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
        self.lanes.iter_mut().for_each(|lane| lane.advance(now, self.policy.max_age));
        self.lanes.retain(|lane| !lane.is_over());
    }

    /// How many frames the next batch may have. Rounded up, so that a device that does more frames in little more time
    /// is found out.
    fn room(&self) -> usize {
        let most = self.policy.max_size.get();
        match self.pace {
            Some(pace) if !pace.is_zero() && self.lanes.iter().any(Lane::is_live) => {
                let fresh = self.policy.max_age.as_nanos().div_ceil(pace.as_nanos()).max(1);
                usize::try_from(fresh).map_or(most, |fresh| fresh.min(most))
            }
            _ => most,
        }
    }

    fn pick(&mut self, now: Instant, room: usize) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(room);
        self.lanes.iter_mut().for_each(|lane| lane.places = 0);
        while frames.len() < room {
            let turns =
                self.lanes.iter_mut().filter_map(|lane| Some(((lane.places, lane.ready_at()?), lane)));
            let Some((_, lane)) = turns.min_by_key(|(turn, _)| *turn) else { break };
            frames.extend(lane.take_head());
            lane.places += 1;
            lane.advance(now, self.policy.max_age);
        }
        self.lanes.retain(|lane| !lane.is_over());
        frames
    }
}
