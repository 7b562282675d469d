//! A camera's bounded queue, and its policy for when it is full.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError, bounded};
use lookout_schema::DropCause;

use crate::{DropOldestSender, Frame, Stop};

/// What a full queue does with a new frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Waits for space: for files, which must not lose frames.
    Block,
    /// Drops the oldest frame and accepts the new one: for live cameras, for which the latest frame matters most.
    DropOldest,
}

/// The sending side of a camera's queue.
#[derive(Debug)]
pub struct CameraIntake {
    when_full: WhenFull,
    frames: Sender<Frame>,
    drop_oldest: DropOldestSender<Frame>,
    wake: Sender<()>,
    lost: Arc<AtomicU64>,
}

/// The receiving side of a camera's queue.
#[derive(Debug)]
pub struct CameraQueue {
    frames: Receiver<Frame>,
    lost: Arc<AtomicU64>,
}

/// The result of [`CameraQueue::try_recv`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is matched immediately and never stored")]
pub enum TryRecv {
    /// The oldest frame.
    Frame(Frame),
    /// The queue is empty, and the camera has not ended.
    Empty,
    /// The camera has ended and its queue is empty.
    Ended,
}

/// Creates a queue of `capacity` frames for one camera. `wake` receives a message, without blocking the sender, for
/// each new frame and for the camera's end.
pub fn camera_queue(
    capacity: NonZeroUsize,
    when_full: WhenFull,
    wake: Sender<()>,
) -> (CameraIntake, CameraQueue) {
    let (frames, queue) = bounded(capacity.get());
    let lost = Arc::new(AtomicU64::new(0));
    let drop_oldest = DropOldestSender::new(frames.clone(), &queue);
    let intake = CameraIntake { when_full, frames, drop_oldest, wake, lost: Arc::clone(&lost) };
    (intake, CameraQueue { frames: queue, lost })
}

/// The interval at which a camera that waits for space checks the stop signal.
const STOP_POLL: Duration = Duration::from_millis(50);

impl CameraIntake {
    /// Enqueues a frame, or counts it as dropped if `stop` is signaled before there is space.
    pub fn push(&self, frame: Frame, stop: &Stop) {
        match self.when_full {
            WhenFull::Block => {
                if !self.push_when_free(frame, stop) {
                    return;
                }
            }
            WhenFull::DropOldest => self.drop_oldest.send(frame, |oldest| {
                oldest.ticket.dropped(DropCause::QueueFull);
                self.lost.fetch_add(1, Relaxed);
            }),
        }
        // If the wake channel is full, a notification is already pending.
        let _ = self.wake.try_send(());
    }

    /// Waits for space. Returns false if the frame was dropped because `stop` is signaled.
    fn push_when_free(&self, mut frame: Frame, stop: &Stop) -> bool {
        loop {
            frame = match self.frames.send_timeout(frame, STOP_POLL) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(frame)) if !stop.is_stopped() => frame,
                Err(refused) => {
                    refused.into_inner().ticket.dropped(DropCause::Shutdown);
                    return false;
                }
            };
        }
    }
}

impl Drop for CameraIntake {
    fn drop(&mut self) {
        let _ = self.wake.try_send(());
    }
}

impl CameraQueue {
    /// Returns whether the queue is full, so that the next frame would wait or replace the oldest one.
    pub fn is_full(&self) -> bool {
        self.frames.is_full()
    }

    /// Returns the number of frames dropped so far because the queue was full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Returns the number of frames in the queue.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns whether no frame is in the queue.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes the oldest frame from the queue; never waits.
    pub fn try_recv(&self) -> TryRecv {
        match self.frames.try_recv() {
            Ok(frame) => TryRecv::Frame(frame),
            Err(TryRecvError::Empty) => TryRecv::Empty,
            Err(TryRecvError::Disconnected) => TryRecv::Ended,
        }
    }
}
