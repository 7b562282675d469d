//! The batcher's slot for one camera.

use std::time::{Duration, Instant};

use lookout_schema::DropCause;
use lookout_stage::{CameraQueue, Frame, TryRecv};

/// A camera's queue and the frame at its head.
#[derive(Debug)]
pub(crate) struct CameraSlot {
    queue: CameraQueue,
    head: Option<Frame>,
    ended: bool,
    /// Whether its last frame was live.
    pub(crate) live: bool,
    /// Number of this camera's frames in the batch that is being formed.
    pub(crate) places: usize,
    /// Number of this camera's frames in all batches, with the frames that it was credited.
    pub(crate) turns: u64,
    /// The number of the last batch with a frame of this camera.
    pub(crate) last_batch: u64,
    /// When it was last observed that a frame was dropped because the device was busy.
    lost_at: Option<Instant>,
    /// The number of frames that the queue had dropped by then.
    lost: u64,
}

/// When a live frame is too old for a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    pub(crate) max_age: Duration,
    /// The maximum age of a camera's newest frame, which waits for its turn; at least `max_age`.
    pub(crate) grace: Duration,
}

impl CameraSlot {
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

    /// Moves the next frame that is fresh enough to the head, and drops those before it.
    pub(crate) fn advance(&mut self, now: Instant, freshness: Freshness) {
        let lost = self.queue.lost();
        if lost > self.lost {
            (self.lost, self.lost_at) = (lost, Some(now));
        }
        // A full queue has dropped frames that arrived after this one, so this one, the oldest, has to be dropped
        // first.
        if self.is_live() && self.queue.is_full() {
            self.lose_head(DropCause::QueueFull, now);
        }
        loop {
            match &self.head {
                Some(head) if self.is_stale(head, now, freshness) => self.lose_head(DropCause::Stale, now),
                Some(_) => return,
                None => match self.queue.try_recv() {
                    TryRecv::Frame(frame) => {
                        self.live = frame.header.live;
                        self.head = Some(frame);
                    }
                    TryRecv::Empty => return,
                    TryRecv::Ended => {
                        self.ended = true;
                        return;
                    }
                },
            }
        }
    }

    /// Returns whether a live frame is too old to be processed.
    ///
    /// An overloaded device would find the frames of some cameras stale every time: those of cameras whose frames
    /// arrive just after it has formed a batch. A camera's newest frame is therefore kept for its turn.
    fn is_stale(&self, head: &Frame, now: Instant, freshness: Freshness) -> bool {
        let age = now.saturating_duration_since(head.header.arrived_at);
        let most = if self.queue.is_empty() { freshness.grace } else { freshness.max_age };
        head.header.live && age > most
    }

    /// Returns whether the camera's next frame, which has not arrived yet, should be waited for: frames of the camera
    /// were dropped no longer than `within` ago.
    pub(crate) fn is_owed(&self, now: Instant, within: Duration) -> bool {
        let lost = self.lost_at.is_some_and(|at| now.saturating_duration_since(at) <= within);
        lost && self.head.is_none() && !self.ended
    }

    /// Returns when the frame at the head became ready.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.head.as_ref().map(|head| head.header.ready_at)
    }

    /// Returns whether the frame at the head is live, so that it can become stale.
    pub(crate) fn is_live(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.header.live)
    }

    /// Returns the number of waiting frames, including frames that may be stale.
    pub(crate) fn waiting(&self) -> usize {
        usize::from(self.head.is_some()) + self.queue.len()
    }

    pub(crate) fn take_head(&mut self) -> Option<Frame> {
        self.head.take()
    }

    /// Returns whether the camera has ended and no frame is left.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.head.is_none()
    }

    /// Drops every remaining frame.
    pub(crate) fn abandon(mut self, cause: DropCause) {
        self.drop_head(cause);
        while let TryRecv::Frame(frame) = self.queue.try_recv() {
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
