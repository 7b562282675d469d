//! Backoff between two attempts to connect to a camera.

use std::time::Duration;

use lookout_config::RetrySettings;
use lookout_schema::RetryReason;

/// Computes the waits between the attempts to connect to one camera.
///
/// Each wait is 1.5 times the previous one, so that an unreachable camera is not flooded with attempts. A random
/// reduction of up to half (jitter) keeps cameras behind one switch from reconnecting at the same instant. With this
/// factor, a camera that returns is reconnected within about half of the time for which it was unreachable. With
/// waits that double, it could take as long as the outage itself.
#[derive(Debug)]
pub(crate) struct Backoff {
    settings: RetrySettings,
    /// The next wait, before the random reduction.
    next: Duration,
    /// Consecutive attempts without a frame.
    fruitless: u32,
    /// The next wait after a refused login.
    next_login: Duration,
}

/// Maximum wait after a refused login. Cameras that lock an account do so for about this long.
const MAX_LOGIN_WAIT: Duration = Duration::from_secs(30 * 60);

impl Backoff {
    pub(crate) fn new(settings: RetrySettings) -> Self {
        Self { settings, next: settings.first, fruitless: 0, next_login: settings.login }
    }

    /// Returns the wait before the next attempt, or None if the maximum number of attempts without a frame is reached.
    ///
    /// `flowed` is the time from the first to the last frame of the connection that ended, or None if it had no frame.
    /// `random` is drawn uniformly from 0 to 1.
    ///
    /// `flowed` is subtracted from the next wait. The waits of a camera that always fails after a few frames thus keep
    /// growing, and a camera that worked for a while is soon tried again.
    ///
    /// After a refused login the wait starts at `login` of the settings, doubles with each refusal up to half an hour,
    /// and is not reduced, because each attempt brings the camera closer to locking the account.
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
    fn waits_grow_by_half_up_to_the_maximum() {
        let mut backoff = backoff(None);
        let waits: Vec<_> = (0..6).map(|_| backoff.after(None, LOST, 0.0).unwrap().as_millis()).collect();
        assert_eq!(waits, [1000, 1500, 2250, 3375, 5000, 5000]);
    }

    #[test]
    fn jitter_shortens_a_wait_by_up_to_half() {
        assert_eq!(backoff(None).after(None, LOST, 0.5), Some(S.mul_f64(0.75)));
        assert_eq!(backoff(None).after(None, LOST, 1.0), Some(S / 2));
    }

    #[test]
    fn the_wait_is_reduced_by_the_duration_of_the_last_connection() {
        let mut backoff = backoff(None);
        backoff.after(None, LOST, 0.0);
        backoff.after(None, LOST, 0.0);
        assert_eq!(backoff.after(Some(S / 4), LOST, 0.0), Some(2 * S));
        assert_eq!(backoff.after(Some(S), LOST, 0.0), Some(2 * S));
        assert_eq!(backoff.after(Some(60 * S), LOST, 0.0), Some(S));
    }

    #[test]
    fn a_camera_fails_after_the_maximum_number_of_attempts_without_a_frame() {
        let mut backoff = backoff(Some(2));
        assert!(backoff.after(None, LOST, 0.0).is_some());
        assert!(backoff.after(Some(S), LOST, 0.0).is_some());
        assert!(backoff.after(None, LOST, 0.0).is_some());
        assert_eq!(backoff.after(None, LOST, 0.0), None);
    }

    #[test]
    fn the_wait_after_a_rejected_login_starts_at_one_minute_and_doubles() {
        let mut backoff = backoff(None);
        let mut refused = || backoff.after(None, RetryReason::Unauthorized, 1.0).unwrap().as_secs();
        let waits: Vec<_> = (0..7).map(|_| refused()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1800, 1800]);
        // The wait after another failure is unaffected, and a connection with frames resets the login wait.
        assert_eq!(backoff.after(None, LOST, 0.0), Some(S));
        assert_eq!(backoff.after(Some(S), RetryReason::Unauthorized, 1.0), Some(60 * S));
    }
}
