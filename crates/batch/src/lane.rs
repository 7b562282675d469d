//! One camera's place at the batcher.

use std::time::{Duration, Instant};

use lookout_schema::DropCause;
use lookout_stage::{CameraQueue, Frame, Taken};

/// A camera's queue and the frame at its head.
#[derive(Debug)]
pub(crate) struct Lane {
    queue: CameraQueue,
    head: Option<Frame>,
    ended: bool,
    /// Whether its last frame was live.
    pub(crate) live: bool,
    /// Places that this camera has in the batch being picked.
    pub(crate) places: usize,
    /// Places that this camera has had in all batches, with what it was credited.
    pub(crate) turns: u64,
    /// The number of the last batch that it had a place in.
    pub(crate) last_batch: u64,
    /// When it was last seen that a frame was dropped because the device was busy.
    lost_at: Option<Instant>,
    /// What the queue had dropped by then.
    lost: u64,
}

/// When a live frame is too old for a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    pub(crate) max_age: Duration,
    /// The most that a camera's newest frame may age while it waits for its turn; `max_age` at least.
    pub(crate) grace: Duration,
}

impl Lane {
    pub(crate) fn new(queue: CameraQueue, turns: u64) -> Self {
        Self {
            queue,
            head: None,
            ended: false,
            live: false,
            places: 0,
            turns,
            last_batch: 0,
            lost_at: None,
            lost: 0,
        }
    }

    /// Brings the next frame that is fresh enough to the head, and drops those before it.
    pub(crate) fn advance(&mut self, now: Instant, freshness: Freshness) {
        let lost = self.queue.lost();
        if lost > self.lost {
            (self.lost, self.lost_at) = (lost, Some(now));
        }
        // A full queue has dropped frames that came after this one: the oldest goes first.
        if self.is_live() && self.queue.is_full() {
            self.lose_head(DropCause::QueueFull, now);
        }
        loop {
            match &self.head {
                Some(head) if self.is_stale(head, now, freshness) => self.lose_head(DropCause::Stale, now),
                Some(_) => return,
                None => match self.queue.take() {
                    Taken::Frame(frame) => {
                        self.live = frame.header.live;
                        self.head = Some(frame);
                    }
                    Taken::Empty => return,
                    Taken::Ended => {
                        self.ended = true;
                        return;
                    }
                },
            }
        }
    }

    /// Whether a live frame is too old to be published as fresh.
    ///
    /// A device that is too slow would find the frames of some cameras stale each time: of those whose frames come
    /// just after it has picked a batch. So a camera's newest frame is kept for its turn.
    fn is_stale(&self, head: &Frame, now: Instant, freshness: Freshness) -> bool {
        let age = now.saturating_duration_since(head.header.arrived_at);
        let most = if self.queue.is_empty() { freshness.grace } else { freshness.max_age };
        head.header.live && age > most
    }

    /// Whether the next frame, which has not come yet, is owed a place: others were lost no longer than `within` ago.
    pub(crate) fn is_owed(&self, now: Instant, within: Duration) -> bool {
        let lost = self.lost_at.is_some_and(|at| now.saturating_duration_since(at) <= within);
        lost && self.head.is_none() && !self.ended
    }

    /// When the frame at the head became ready.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.head.as_ref().map(|head| head.header.ready_at)
    }

    /// Whether the frame at the head is one that can grow old.
    pub(crate) fn is_live(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.header.live)
    }

    /// Frames that wait for a place, some of them perhaps too old for one.
    pub(crate) fn waiting(&self) -> usize {
        usize::from(self.head.is_some()) + self.queue.len()
    }

    pub(crate) fn take_head(&mut self) -> Option<Frame> {
        self.head.take()
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.head.is_none()
    }

    /// Drops every frame that is still here.
    pub(crate) fn abandon(mut self, cause: DropCause) {
        self.drop_head(cause);
        while let Taken::Frame(frame) = self.queue.take() {
            frame.ticket.dropped(cause);
        }
    }

    fn lose_head(&mut self, cause: DropCause, now: Instant) {
        self.lost_at = Some(now);
        self.drop_head(cause);
    }

    fn drop_head(&mut self, cause: DropCause) {
        if let Some(head) = self.head.take() {
            head.ticket.dropped(cause);
        }
    }
}
