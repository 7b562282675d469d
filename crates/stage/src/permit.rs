//! Back-pressure for lossless sources.
//!
//! A frame of a file acquires a permit before it enters the worker and returns it when the broker has its record. A
//! slow broker therefore slows the file down at its source, no stage in between blocks on it, and live cameras in the
//! same worker are not affected.

use std::{num::NonZeroUsize, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The permits of one camera.
#[derive(Debug)]
pub struct Permits {
    free: Receiver<()>,
    give_back: Sender<()>,
}

/// The right of one frame to be in the worker. It is returned when dropped.
#[derive(Debug)]
pub struct Permit {
    give_back: Sender<()>,
}

impl Permits {
    /// Creates `count` permits.
    pub fn new(count: NonZeroUsize) -> Self {
        let (give_back, free) = bounded(count.get());
        for _ in 0..count.get() {
            let _ = give_back.try_send(());
        }
        Self { free, give_back }
    }

    /// Waits up to `timeout` for a permit and returns `None` if none became free.
    pub fn acquire(&self, timeout: Duration) -> Option<Permit> {
        self.free.recv_timeout(timeout).ok().map(|()| Permit { give_back: self.give_back.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.give_back.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_can_be_acquired_again() {
        let permits = Permits::new(NonZeroUsize::MIN);
        let first = permits.acquire(Duration::ZERO);
        assert!(first.is_some());
        assert!(permits.acquire(Duration::ZERO).is_none());
        drop(first);
        assert!(permits.acquire(Duration::ZERO).is_some());
    }
}
