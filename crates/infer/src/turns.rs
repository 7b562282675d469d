//! The sequencer. Streams run batches in parallel and forward their results in the order of the batches, so that each
//! camera's records stay in order.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lookout_stage::Stop;

/// The number of the next batch whose results are forwarded.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    next: Mutex<u64>,
    over: Condvar,
}

/// The interval at which a waiting stream checks the stop signal.
const STOP_POLL: Duration = Duration::from_millis(100);

impl Turns {
    /// Calls `hand_on`, which forwards the results, once every batch before `number` has been forwarded or `stop` is
    /// signaled.
    pub(crate) fn take(&self, number: u64, stop: &Stop, hand_on: impl FnOnce()) {
        let mut next = self.next();
        while *next < number && !stop.is_stopped() {
            next = self.over.wait_timeout(next, STOP_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        hand_on();
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
        let (turns, (_never, stop)) = (Turns::default(), stop_signal());
        let (order, seen) = mpsc::channel();
        thread::scope(|scope| {
            for number in (0..20).rev() {
                let (turns, stop, order) = (&turns, &stop, order.clone());
                scope.spawn(move || turns.take(number, stop, || order.send(number).unwrap()));
            }
        });
        drop(order);
        assert!(seen.iter().eq(0..20));
    }

    #[test]
    fn a_stop_ends_the_wait_for_a_turn() {
        let (turns, (stop_now, stop)) = (Turns::default(), stop_signal());
        drop(stop_now);
        let mut taken = false;
        turns.take(7, &stop, || taken = true);
        assert!(taken);
    }
}
