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
    /// Places that this camera has in the batch being picked.
    pub(crate) places: usize,
}

impl Lane {
    pub(crate) fn new(queue: CameraQueue) -> Self {
        Self { queue, head: None, ended: false, places: 0 }
    }

    /// Brings the next frame worth looking at to the head, and drops those before it that are not.
    pub(crate) fn advance(&mut self, now: Instant, max_age: Duration) {
        // A full queue has dropped frames that came after this one: the oldest goes first.
        if self.is_live() && self.queue.is_full() {
            self.drop_head(DropCause::QueueFull);
        }
        loop {
            match &self.head {
                Some(head) if is_stale(head, now, max_age) => self.drop_head(DropCause::Stale),
                Some(_) => return,
                None => match self.queue.take() {
                    Taken::Frame(frame) => self.head = Some(frame),
                    Taken::Empty => return,
                    Taken::Ended => {
                        self.ended = true;
                        return;
                    }
                },
            }
        }
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

    fn drop_head(&mut self, cause: DropCause) {
        if let Some(head) = self.head.take() {
            head.ticket.dropped(cause);
        }
    }
}

/// Whether a live frame has grown too old to be published as fresh.
fn is_stale(frame: &Frame, now: Instant, max_age: Duration) -> bool {
    frame.header.live && now.saturating_duration_since(frame.header.arrived_at) > max_age
}
