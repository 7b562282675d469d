//! Ownership terms: how long, and under which epoch, a worker may publish a camera's frames.

use std::{
    ops::Add,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use lookout_schema::Epoch;
use rustix::time::{ClockId, clock_gettime};

/// A time of a clock that keeps running while the machine is suspended, unlike [`Instant`](std::time::Instant).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// Returns the current time of `CLOCK_BOOTTIME`.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let part = |n: i64| u64::try_from(n).unwrap_or(0);
        Self(Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec)))
    }

    /// Returns the time `at` after boot, for tests.
    pub const fn from_start(at: Duration) -> Self {
        Self(at)
    }

    /// Returns the time from `earlier` to this time; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the milliseconds since boot.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time `ms` milliseconds after boot.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// The time until which no other worker can own this worker's cameras. It expires by itself unless it is renewed, so a
/// worker that was suspended or disconnected stops publishing without a message from outside.
#[derive(Debug, Default)]
pub struct Lease {
    until_ms: AtomicU64,
}

impl Lease {
    /// Extends the lease to `until`; never shortens it.
    pub fn renew(&self, until: BootTime) {
        self.until_ms.fetch_max(until.as_millis(), SeqCst);
    }

    /// Returns whether the lease has not expired at `now`.
    pub fn holds(&self, now: BootTime) -> bool {
        now.as_millis() < self.until_ms.load(SeqCst)
    }
}

/// An ownership term: one worker's time as the owner of a camera. All its records of the camera carry this term's
/// epoch, however late they are published.
#[derive(Debug)]
pub struct Ownership {
    epoch: Epoch,
    lease: Option<Arc<Lease>>,
    over: AtomicBool,
}

impl Ownership {
    /// Returns a term without end, for a camera that has no other owner.
    pub fn without_end() -> Arc<Self> {
        Arc::new(Self { epoch: Epoch::default(), lease: None, over: AtomicBool::new(false) })
    }

    /// Returns a term that ends with `lease`.
    pub fn leased(epoch: Epoch, lease: Arc<Lease>) -> Arc<Self> {
        Arc::new(Self { epoch, lease: Some(lease), over: AtomicBool::new(false) })
    }

    /// Returns the epoch of the term's records.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Ends the term: no more records of the camera may be published.
    pub fn end(&self) {
        self.over.store(true, SeqCst);
    }

    /// Returns whether the term has not ended at `now`.
    pub fn holds(&self, now: BootTime) -> bool {
        !self.over.load(SeqCst) && self.lease.as_ref().is_none_or(|lease| lease.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ownership_term_ends_with_its_lease_or_earlier() {
        let lease = Arc::new(Lease::default());
        let ownership = Ownership::leased(Epoch(7), Arc::clone(&lease));
        let at = BootTime::from_millis;
        assert!(!ownership.holds(at(0)));
        lease.renew(at(6_000));
        lease.renew(at(5_000));
        assert!(ownership.holds(at(5_999)) && !ownership.holds(at(6_000)));
        ownership.end();
        assert!(!ownership.holds(at(5_999)));
        assert!(Ownership::without_end().holds(BootTime::now()));
    }

    #[test]
    fn boot_time_does_not_decrease() {
        let then = BootTime::now();
        assert!(BootTime::now() >= then && then.as_millis() > 0);
    }
}
