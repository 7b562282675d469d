//! A camera's bounded queue, and what happens when it is full.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use lookout_schema::DropCause;

use crate::{Frame, Stop};

/// What a queue does with a frame for which it has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Waits: for files, which lose nothing.
    Block,
    /// Drops the oldest frame and takes the new one: for live cameras, where the latest frame wins.
    DropOldest,
}

/// The camera's end of its queue.
#[derive(Debug)]
pub struct CameraIntake {
    when_full: WhenFull,
    frames: Sender<Frame>,
    // Held so that the oldest frame can be taken out from this end.
    oldest: Receiver<Frame>,
    wake: Sender<()>,
    lost: Arc<AtomicU64>,
}

/// The worker's end of a camera's queue.
#[derive(Debug)]
pub struct CameraQueue {
    frames: Receiver<Frame>,
    lost: Arc<AtomicU64>,
}

/// What a look into a camera's queue found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is matched where it is made and kept nowhere")]
pub enum Taken {
    Frame(Frame),
    Empty,
    /// The camera has ended and its queue is empty.
    Ended,
}

/// A queue of `capacity` frames for one camera. `wake` is told, without waiting, of each frame that
/// comes and of the camera's end.
pub fn camera_queue(
    capacity: NonZeroUsize,
    when_full: WhenFull,
    wake: Sender<()>,
) -> (CameraIntake, CameraQueue) {
    let (frames, queue) = bounded(capacity.get());
    let lost = Arc::new(AtomicU64::new(0));
    let intake = CameraIntake { when_full, frames, oldest: queue.clone(), wake, lost: Arc::clone(&lost) };
    (intake, CameraQueue { frames: queue, lost })
}

/// How often a camera that waits for room looks whether it is to stop.
const STOP_POLL: Duration = Duration::from_millis(50);

impl CameraIntake {
    /// Hands on a frame, or counts it as dropped where `stop` comes before there is room.
    pub fn push(&self, mut frame: Frame, stop: &Stop) {
        loop {
            frame = match self.when_full {
                WhenFull::Block => match self.frames.send_timeout(frame, STOP_POLL) {
                    Ok(()) => break,
                    Err(SendTimeoutError::Timeout(frame)) if !stop.is_stopped() => frame,
                    Err(refused) => return refused.into_inner().ticket.dropped(DropCause::Shutdown),
                },
                WhenFull::DropOldest => match self.frames.try_send(frame) {
                    Ok(()) => break,
                    Err(TrySendError::Full(frame)) => {
                        if let Ok(oldest) = self.oldest.try_recv() {
                            oldest.ticket.dropped(DropCause::QueueFull);
                            self.lost.fetch_add(1, Relaxed);
                        }
                        frame
                    }
                    Err(TrySendError::Disconnected(frame)) => {
                        return frame.ticket.dropped(DropCause::Shutdown);
                    }
                },
            };
        }
        // A full wake channel means that the receiver has been told already.
        let _ = self.wake.try_send(());
    }
}

impl Drop for CameraIntake {
    fn drop(&mut self) {
        let _ = self.wake.try_send(());
    }
}

impl CameraQueue {
    /// Whether the next frame would have to wait, or to drop the oldest.
    pub fn is_full(&self) -> bool {
        self.frames.is_full()
    }

    /// Frames that were dropped so far because the queue was full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Frames in the queue.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The oldest frame in the queue; never waits.
    pub fn take(&self) -> Taken {
        match self.frames.try_recv() {
            Ok(frame) => Taken::Frame(frame),
            Err(TryRecvError::Empty) => Taken::Empty,
            Err(TryRecvError::Disconnected) => Taken::Ended,
        }
    }
}
