//! What the device takes for a frame.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The mean of the last batches, which all streams of a device add to.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// A batch of so many frames took so long. Of two that say so at once one may be lost.
    pub(crate) fn learn(&self, frames: usize, took: Duration) {
        let Ok(frames @ 1..) = u64::try_from(frames) else { return };
        let sample = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / frames;
        let known = self.0.load(Relaxed);
        let mean = if known == 0 { sample } else { known - known / 4 + sample / 4 };
        self.0.store(mean, Relaxed);
    }

    /// The time for a frame, once there was a batch.
    pub(crate) fn per_frame(&self) -> Option<Duration> {
        let known = self.0.load(Relaxed);
        (known > 0).then(|| Duration::from_nanos(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_last_batches() {
        let pace = Pace::default();
        assert_eq!(pace.per_frame(), None);
        pace.learn(0, Duration::from_secs(1));
        assert_eq!(pace.per_frame(), None);
        pace.learn(4, Duration::from_millis(400));
        assert_eq!(pace.per_frame(), Some(Duration::from_millis(100)));
        (0..30).for_each(|_| pace.learn(1, Duration::from_millis(20)));
        let settled = pace.per_frame().unwrap_or_default();
        assert!((19..22).contains(&settled.as_millis()), "{settled:?}");
    }
}
