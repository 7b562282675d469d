//! Waits between attempts that double.

use std::time::Duration;

/// The wait before the next attempt, which doubles with each attempt up to a maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExponentialBackoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl ExponentialBackoff {
    /// Creates waits of `first` and its doubles, up to `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// Returns the wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait
    }

    /// Starts again with the first wait, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let s = Duration::from_secs;
        let mut backoff = ExponentialBackoff::new(s(1), s(5));
        let waits: Vec<Duration> = (0..5).map(|_| backoff.next_wait()).collect();
        assert_eq!(waits, [s(1), s(2), s(4), s(5), s(5)]);
        backoff.reset();
        assert_eq!(backoff.next_wait(), s(1));
    }
}
