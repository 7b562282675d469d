//! The stop signal, which is passed as an argument.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// The receiving side of a stop signal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(Receiver<Infallible>);

/// Sends the stop signal to all clones of its [`Stop`] when dropped.
#[derive(Debug)]
#[must_use = "dropping it sends the stop signal"]
pub struct StopOnDrop(#[expect(dead_code, reason = "held only to be dropped")] Sender<Infallible>);

/// Returns a new stop signal.
pub fn stop_signal() -> (StopOnDrop, Stop) {
    let (sender, receiver) = bounded(0);
    (StopOnDrop(sender), Stop(receiver))
}

impl Stop {
    /// Returns whether the signal was sent.
    pub fn is_stopped(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for at most `duration` and returns whether the signal was sent.
    pub fn wait(&self, duration: Duration) -> bool {
        matches!(self.0.recv_timeout(duration), Err(RecvTimeoutError::Disconnected))
    }

    /// Waits until `deadline` at the latest and returns whether the signal was sent.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        matches!(self.0.recv_deadline(deadline), Err(RecvTimeoutError::Disconnected))
    }

    /// Returns the channel for `crossbeam_channel::select!`. It never holds a message and is disconnected by the
    /// signal.
    pub fn channel(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_receive_the_stop_signal() {
        let (guard, stop) = stop_signal();
        let other = stop.clone();
        assert!(!stop.is_stopped() && !other.wait(Duration::ZERO));
        drop(guard);
        assert!(stop.is_stopped() && other.wait(Duration::from_secs(60)));
    }
}
