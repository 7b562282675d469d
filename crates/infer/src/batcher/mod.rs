//! The batcher: when a batch is closed, and which frames are in it.

mod camera_slot;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lookout_schema::DropCause;
use lookout_stage::{BatchClosed, CameraQueue, Frame, FrameBatch};

use camera_slot::{CameraSlot, Freshness};

/// The limits that decide when a batch is closed.
#[derive(Debug, Clone, Copy)]
pub struct BatchPolicy {
    /// Maximum number of frames in a batch. A batch with live frames is also limited to the number of frames that the
    /// device processes within about `max_age`.
    pub max_size: NonZeroUsize,
    /// How long a frame may wait for others while the device is busy.
    pub max_wait: Duration,
    /// Age at which a live frame is dropped with [`DropCause::Stale`]. If the device takes longer than this for one
    /// frame of each camera, the newest frame of a camera may wait that long for its turn.
    pub max_age: Duration,
}

/// The state of the device, which decides which batch it can take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// It takes no batch: the next one is already prepared, or waiting would make it fuller without delaying it.
    Saturated,
    /// It processes a batch, and takes another that is full or has waited long enough.
    Busy,
    /// It takes any batch, at once.
    Idle,
}

/// The result of a poll.
#[derive(Debug)]
pub enum Polled {
    Batch(FrameBatch),
    /// No batch is due. The caller polls again when a frame arrives, the state of the device changes, or at `until`.
    Wait {
        until: Option<Instant>,
    },
}

/// Forms batches from the frames of many cameras.
///
/// A batch takes one frame from each camera that has one before it takes a second from any, and does not wait for a
/// camera, except briefly for one that has fallen behind the others. If the batch cannot hold one frame of each camera,
/// the cameras with the fewest frames so far come first, so that an overloaded device serves all cameras equally.
/// Frames stay in their cameras' queues until a batch is closed, so that a full queue always drops its oldest frame
/// while the device is busy.
#[derive(Debug)]
pub struct Batcher {
    policy: BatchPolicy,
    /// The time that the device takes per frame, if it is known.
    per_frame: Option<Duration>,
    /// Maximum number of frames in a batch, if it is lower than the policy's `max_size`.
    limit: Option<NonZeroUsize>,
    slots: Vec<CameraSlot>,
    /// The number of batches formed so far.
    batches: u64,
}

/// How many frames a camera has to be behind the others before the device waits for it.
const BEHIND: u64 = 4;

/// How many frames a camera can catch up on after it had none to offer while others had. It is larger than [`BEHIND`],
/// because the other cameras differ among themselves too, and all of them have to be that far ahead.
const CREDIT: u64 = 2 * BEHIND;

impl Batcher {
    pub fn new(policy: BatchPolicy) -> Self {
        Self { policy, per_frame: None, limit: None, slots: Vec::new(), batches: 0 }
    }

    /// Sets the measured time per frame, which limits batches so that live frames stay within `max_age`. Without the
    /// limit, frames that are fresh when a large batch starts would be stale when it completes. This matters for slow
    /// networks such as detectors on a CPU, where batches save no time per frame.
    pub fn set_time_per_frame(&mut self, per_frame: Duration) {
        self.per_frame = Some(per_frame);
    }

    /// Limits the next batches to `frames`; `None` restores the policy's limit.
    pub fn set_limit(&mut self, frames: Option<NonZeroUsize>) {
        self.limit = frames;
    }

    /// Returns whether there are live cameras and a device that takes `took` per frame would exceed their `max_age`.
    pub fn would_be_stale(&self, took: Duration) -> bool {
        took > self.policy.max_age && self.slots.iter().any(|slot| slot.live)
    }

    /// Adds a camera. It is removed when its queue has ended.
    pub fn add(&mut self, queue: CameraQueue) {
        let turns = self.most_turns();
        self.slots.push(CameraSlot::new(queue, turns));
    }

    /// Returns whether every camera has ended and every frame has been in a batch.
    pub fn is_over(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns a batch if one is due.
    pub fn poll(&mut self, now: Instant, device: DeviceState) -> Polled {
        if device == DeviceState::Saturated {
            return Polled::Wait { until: None };
        }
        self.advance(now);
        let Some(oldest) = self.slots.iter().filter_map(CameraSlot::ready_at).min() else {
            return Polled::Wait { until: None };
        };
        let deadline = oldest + self.policy.max_wait;
        let waiting: usize = self.slots.iter().map(CameraSlot::waiting).sum();
        let room = self.room();
        if device == DeviceState::Busy && waiting < room && now < deadline {
            return Polled::Wait { until: Some(deadline) };
        }
        if let Some(until) = self.held(now) {
            return Polled::Wait { until: Some(until) };
        }
        let frames = self.pick(now, room);
        let closed_by = if frames.len() == room {
            BatchClosed::Full
        } else if self.slots.is_empty() {
            BatchClosed::Drain
        } else if device == DeviceState::Idle {
            BatchClosed::Idle
        } else {
            BatchClosed::Deadline
        };
        Polled::Batch(FrameBatch { frames, closed_by })
    }

    /// Drops every frame that is not in a batch yet, and removes all cameras.
    pub fn abandon(&mut self, cause: DropCause) {
        self.slots.drain(..).for_each(|slot| slot.abandon(cause));
    }

    fn advance(&mut self, now: Instant) {
        let freshness = self.freshness();
        self.slots.iter_mut().for_each(|slot| slot.advance(now, freshness));
        self.slots.retain(|slot| !slot.is_over());
    }

    /// Returns until when the device is kept free for a camera that has fallen behind the others by [`BEHIND`] frames
    /// because its frames always arrive at an unfavorable time. This costs the device at most the time of one frame.
    fn held(&self, now: Instant) -> Option<Instant> {
        let per_frame = self.per_frame?;
        let turns = |slot: &CameraSlot| slot.turns.max(self.least_turns());
        let owed = self.owed(now)?;
        let ready = || self.slots.iter().filter_map(|slot| Some((slot, slot.ready_at()?)));
        let first = ready().map(|(slot, _)| turns(slot)).min()?;
        let until = ready().map(|(_, ready_at)| ready_at).min()? + per_frame;
        (first >= owed + BEHIND && now < until).then_some(until)
    }

    /// Returns the lowest count of frames among the cameras that lost frames recently and have none to offer now.
    fn owed(&self, now: Instant) -> Option<u64> {
        // A camera that has not lost a frame for longer either sends none or is served sufficiently.
        let lately = self.round().saturating_mul(BEHIND as u32);
        let turns = |slot: &CameraSlot| slot.turns.max(self.least_turns());
        self.slots.iter().filter(|slot| slot.is_owed(now, lately)).map(turns).min()
    }

    /// Returns the time that the device takes for one frame of every camera.
    fn round(&self) -> Duration {
        let cameras = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.per_frame.map_or(Duration::ZERO, |per_frame| per_frame.saturating_mul(cameras))
    }

    fn freshness(&self) -> Freshness {
        let max_age = self.policy.max_age;
        Freshness { max_age, grace: max_age.max(self.round()) }
    }

    fn most_turns(&self) -> u64 {
        self.slots.iter().map(|slot| slot.turns).max().unwrap_or(0)
    }

    /// Returns the lowest count that a camera is assigned: one with fewer frames is credited up to it.
    fn least_turns(&self) -> u64 {
        self.most_turns().saturating_sub(CREDIT)
    }

    /// Returns the maximum number of frames in the next batch.
    fn room(&self) -> usize {
        if self.slots.iter().any(CameraSlot::is_live) { self.live_room() } else { self.most() }
    }

    fn most(&self) -> usize {
        self.policy.max_size.min(self.limit.unwrap_or(self.policy.max_size)).get()
    }

    /// Returns the maximum number of frames in a batch with live frames. Rounded up, so that the estimate can discover
    /// that larger batches cost little more time.
    fn live_room(&self) -> usize {
        let most = self.most();
        match self.per_frame {
            Some(per_frame) if !per_frame.is_zero() => {
                let fresh = self.policy.max_age.as_nanos().div_ceil(per_frame.as_nanos()).max(1);
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
        for slot in &mut self.slots {
            slot.places = 0;
            slot.turns = slot.turns.max(least);
        }
        while frames.len() < room {
            let owed = self.owed(now);
            let places = self.slots.iter_mut().filter_map(|slot| {
                Some(((slot.places, slot.turns, slot.last_batch, slot.ready_at()?), slot))
            });
            let Some((_, slot)) = places.min_by_key(|(place, _)| *place) else { break };
            // A smaller batch frees the device sooner for the camera that is behind.
            let ahead = owed.is_some_and(|owed| slot.turns >= owed + BEHIND);
            if slot.places > 0 && slot.is_live() && ahead {
                break;
            }
            frames.extend(slot.take_head());
            slot.places += 1;
            slot.turns += 1;
            slot.last_batch = self.batches;
            slot.advance(now, freshness);
        }
        self.slots.retain(|slot| !slot.is_over());
        frames
    }
}
