//! How long to wait before a camera is connected anew.

use std::time::Duration;

use lookout_config::RetrySettings;
use lookout_schema::RetryReason;

/// Waits that grow by a half from try to try, so that a camera that is gone is not hammered, each shortened
/// at random, so that cameras behind one switch do not all come back in the same instant. So a camera is
/// found again after half of the time that it was away at the latest, rather than after all of it, as by
/// waits that double.
#[derive(Debug)]
pub(crate) struct Backoff {
    settings: RetrySettings,
    /// The next wait before it is shortened.
    next: Duration,
    /// Tries in a row that gave no frame.
    fruitless: u32,
    /// The next wait after a login that was refused.
    next_login: Duration,
}

/// The longest wait after a login that was refused. Cameras that lock an account do so for about as long.
const MAX_LOGIN_WAIT: Duration = Duration::from_secs(30 * 60);

impl Backoff {
    pub(crate) fn new(settings: RetrySettings) -> Self {
        Self { settings, next: settings.first, fruitless: 0, next_login: settings.login }
    }

    /// The wait after a connection on which frames came for `flowed`, none of them if it is `None`; no
    /// wait where the camera is to be given up. `random` is drawn evenly from 0 to 1.
    ///
    /// The time for which frames came is taken off the waits: a camera that gives a frame and falls over again
    /// is left alone for longer and longer, and one that held for a while is soon tried again.
    ///
    /// After a login that was refused the wait is at least `login` of the settings, doubles up to half an hour,
    /// and is not shortened: each attempt brings cameras closer to locking the account.
    pub(crate) fn after(
        &mut self,
        flowed: Option<Duration>,
        reason: RetryReason,
        random: f64,
    ) -> Option<Duration> {
        match flowed {
            Some(flowed) => {
                self.fruitless = 0;
                self.next_login = self.settings.login;
                self.next = self.next.saturating_sub(flowed).max(self.settings.first);
            }
            None => self.fruitless = self.fruitless.saturating_add(1),
        }
        if self.settings.attempts.is_some_and(|most| self.fruitless >= most) {
            return None;
        }
        if reason == RetryReason::Unauthorized {
            let wait = self.next_login;
            self.next_login = (wait * 2).min(MAX_LOGIN_WAIT).max(self.settings.login);
            return Some(wait);
        }
        let wait = self.next.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
        self.next = (self.next * 3 / 2).min(self.settings.max);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const LOST: RetryReason = RetryReason::Unreachable;

    fn backoff(attempts: Option<u32>) -> Backoff {
        Backoff::new(RetrySettings { first: S, max: 5 * S, attempts, login: 60 * S })
    }

    #[test]
    fn waits_grow_by_a_half_up_to_the_longest() {
        let mut backoff = backoff(None);
        let waits: Vec<_> = (0..6).map(|_| backoff.after(None, LOST, 0.0).unwrap().as_millis()).collect();
        assert_eq!(waits, [1000, 1500, 2250, 3375, 5000, 5000]);
    }

    #[test]
    fn chance_shortens_a_wait_by_up_to_a_half() {
        assert_eq!(backoff(None).after(None, LOST, 0.5), Some(S.mul_f64(0.75)));
        assert_eq!(backoff(None).after(None, LOST, 1.0), Some(S / 2));
    }

    #[test]
    fn a_connection_that_held_takes_its_time_off_the_waits() {
        let mut backoff = backoff(None);
        backoff.after(None, LOST, 0.0);
        backoff.after(None, LOST, 0.0);
        assert_eq!(backoff.after(Some(S / 4), LOST, 0.0), Some(2 * S));
        assert_eq!(backoff.after(Some(S), LOST, 0.0), Some(2 * S));
        assert_eq!(backoff.after(Some(60 * S), LOST, 0.0), Some(S));
    }

    #[test]
    fn a_camera_is_given_up_after_so_many_tries_without_a_frame() {
        let mut backoff = backoff(Some(2));
        assert!(backoff.after(None, LOST, 0.0).is_some());
        assert!(backoff.after(Some(S), LOST, 0.0).is_some());
        assert!(backoff.after(None, LOST, 0.0).is_some());
        assert_eq!(backoff.after(None, LOST, 0.0), None);
    }

    #[test]
    fn a_refused_login_is_tried_again_after_a_minute_and_then_ever_later() {
        let mut backoff = backoff(None);
        let mut refused = || backoff.after(None, RetryReason::Unauthorized, 1.0).unwrap().as_secs();
        let waits: Vec<_> = (0..7).map(|_| refused()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1800, 1800]);
        // Another failure in between is tried again as soon as ever, and frames start the waits over.
        assert_eq!(backoff.after(None, LOST, 0.0), Some(S));
        assert_eq!(backoff.after(Some(S), RetryReason::Unauthorized, 1.0), Some(60 * S));
    }
}
