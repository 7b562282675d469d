//! The sequencer. Streams run batches in parallel and forward their results in the order of the batches, so that each
//! camera's records stay in order.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lookout_stage::Stop;

/// The number of the next batch whose results are forwarded.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    next: Mutex<u64>,
    over: Condvar,
}

/// The interval at which a waiting stream checks the stop signal.
const STOP_POLL: Duration = Duration::from_millis(100);

impl Sequencer {
    /// Calls `forward`, which forwards the results, once every batch before `number` has been forwarded or `stop` is
    /// signaled.
    pub(crate) fn in_order(&self, number: u64, stop: &Stop, forward: impl FnOnce()) {
        let mut next = self.next();
        while *next < number && !stop.is_stopped() {
            next = self.over.wait_timeout(next, STOP_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        forward();
        *next = (*next).max(number + 1);
        drop(next);
        self.over.notify_all();
    }

    // A single number, so it is consistent even if the lock is poisoned.
    fn next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use lookout_stage::stop_signal;

    use super::*;

    #[test]
    fn results_are_forwarded_in_the_order_of_their_batches() {
        let (sequencer, (_never, stop)) = (Sequencer::default(), stop_signal());
        let (order, seen) = mpsc::channel();
        thread::scope(|scope| {
            for number in (0..20).rev() {
                let (sequencer, stop, order) = (&sequencer, &stop, order.clone());
                scope.spawn(move || sequencer.in_order(number, stop, || order.send(number).unwrap()));
            }
        });
        drop(order);
        assert!(seen.iter().eq(0..20));
    }

    #[test]
    fn a_stop_ends_the_wait_for_the_order() {
        let (sequencer, (stop_now, stop)) = (Sequencer::default(), stop_signal());
        drop(stop_now);
        let mut taken = false;
        sequencer.in_order(7, &stop, || taken = true);
        assert!(taken);
    }
}
