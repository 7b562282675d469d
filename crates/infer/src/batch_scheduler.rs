//! The batch thread, which schedules batches: it takes frames from the cameras' queues and passes batches to the
//! device.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, never, select};
use lookout_schema::DropCause;
use lookout_stage::{CameraQueue, FrameBatch, Stop};

use crate::{
    batcher::{Batcher, DeviceState, Polled},
    time_per_frame::TimePerFrame,
};

pub(crate) struct BatchScheduler {
    pub(crate) batcher: Batcher,
    /// Number of streams of the device.
    pub(crate) streams: usize,
    pub(crate) prefetch: bool,
    pub(crate) cameras: Receiver<CameraQueue>,
    pub(crate) woken: Receiver<()>,
    pub(crate) handover: Sender<NumberedBatch>,
    /// Number of batches that were handed over and are not finished.
    pub(crate) outstanding: Arc<AtomicUsize>,
    pub(crate) time_per_frame: Arc<TimePerFrame>,
    pub(crate) abandon: Stop,
    /// Whether batches run one after the other, each on all CPU threads, instead of in parallel streams.
    pub(crate) alone: bool,
}

/// A batch with its number in the order of all batches, from 0.
pub(crate) struct NumberedBatch {
    pub(crate) number: u64,
    pub(crate) batch: FrameBatch,
}

/// A safety limit. A notification always arrives sooner unless there is a bug.
const MAX_WAIT: Duration = Duration::from_secs(1);

impl BatchScheduler {
    pub(crate) fn run(mut self) {
        let mut more_cameras = true;
        let mut number = 0;
        loop {
            if more_cameras {
                more_cameras = self.take_cameras();
            }
            if self.abandon.is_stopped() {
                return self.give_up();
            }
            match self.poll() {
                Polled::Batch(batch) => {
                    self.outstanding.fetch_add(1, SeqCst);
                    if self.handover.send(NumberedBatch { number, batch }).is_err() {
                        return self.give_up();
                    }
                    number += 1;
                }
                Polled::Wait { .. } if !more_cameras && self.batcher.is_over() => return,
                Polled::Wait { until } => self.wait(until),
            }
        }
    }

    fn take_cameras(&mut self) -> bool {
        loop {
            match self.cameras.try_recv() {
                Ok(queue) => self.batcher.add(queue),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    self.cameras = never();
                    return false;
                }
            }
        }
    }

    fn poll(&mut self) -> Polled {
        let outstanding = self.outstanding.load(SeqCst);
        if let Some(per_frame) = self.time_per_frame.per_frame() {
            self.batcher.set_time_per_frame(per_frame);
        }
        let streams = self.streams();
        // While a stream is active, the device is not idle, and other streams only take batches that are full or have
        // waited long enough.
        let ahead = usize::from(self.prefetch);
        let device = if outstanding == 0 {
            DeviceState::Idle
        } else if outstanding < streams + ahead {
            DeviceState::Busy
        } else {
            DeviceState::Saturated
        };
        // Until a batch has run, the time of a large batch is unknown, and the first record should not wait for one.
        self.batcher.set_limit((!self.time_per_frame.has_worked()).then_some(NonZeroUsize::MIN));
        // The batcher's lists stay consistent across any panic, and a frame that is lost in a panic is counted by its
        // ticket.
        catch_unwind(AssertUnwindSafe(|| self.batcher.poll(Instant::now(), device))).unwrap_or_else(|_| {
            tracing::error!("the batcher panicked, continuing");
            self.abandon.wait(Duration::from_millis(100));
            Polled::Wait { until: Some(Instant::now()) }
        })
    }

    /// Returns how many batches run in parallel. Two single frames in parallel take as long as one after the other, and
    /// both complete late. On a device that is too slow for `max_age`, each batch therefore has all CPU threads.
    fn streams(&mut self) -> usize {
        if let (Some(per_frame), 2..) = (self.time_per_frame.per_frame(), self.streams) {
            // The time per frame beside other streams, which was measured or is expected.
            let shared_by = if self.alone { u32::try_from(self.streams).unwrap_or(u32::MAX) } else { 1 };
            self.alone = self.batcher.would_be_stale(per_frame.saturating_mul(shared_by));
        }
        if self.alone { 1 } else { self.streams }
    }

    fn wait(&mut self, until: Option<Instant>) {
        let timeout = until.map_or(MAX_WAIT, |until| until.saturating_duration_since(Instant::now()));
        select! {
            recv(self.woken) -> _ => {}
            recv(self.abandon.channel()) -> _ => {}
            recv(self.cameras) -> queue => if let Ok(queue) = queue {
                self.batcher.add(queue);
            },
            default(timeout) => {}
        }
    }

    fn give_up(mut self) {
        self.take_cameras();
        self.batcher.abandon(DropCause::Shutdown);
    }
}
