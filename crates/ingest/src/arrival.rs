//! When a frame's data arrived, kept until the decoder gives the frame.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// What has gone into the decoder of one connection.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<Entered>);

#[derive(Debug, Default)]
struct Entered {
    /// The latest presentation times in nanoseconds, and when each arrived.
    recent: VecDeque<(u64, Instant)>,
    packets: u64,
    codec: Option<String>,
}

/// More than any codec reorders; a frame whose packet has been forgotten counts as arrived when decoded.
const KEPT: usize = 128;

impl Arrivals {
    /// A packet enters the decoder.
    pub(crate) fn note(&self, pts: Option<u64>, now: Instant) {
        let mut entered = self.entered();
        entered.packets += 1;
        if let Some(pts) = pts {
            if entered.recent.len() == KEPT {
                entered.recent.pop_front();
            }
            entered.recent.push_back((pts, now));
        }
    }

    /// When the packet of the frame at `pts` entered the decoder.
    pub(crate) fn of(&self, pts: u64) -> Option<Instant> {
        // The first packet of several with one time: its data has waited longest.
        self.entered().recent.iter().find(|(p, _)| *p == pts).map(|(_, at)| *at)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.entered().packets
    }

    /// GStreamer's name of what is decoded, such as `video/x-h264`.
    pub(crate) fn set_codec(&self, media_type: &str) {
        self.entered().codec = Some(media_type.to_owned());
    }

    pub(crate) fn codec(&self) -> Option<String> {
        self.entered().codec.clone()
    }

    // A few assignments at a time, so a poisoned lock still guards sound data.
    fn entered(&self) -> std::sync::MutexGuard<'_, Entered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reordered_frame_has_its_own_arrival() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        for (i, pts) in [0, 120, 40, 80].into_iter().enumerate() {
            arrivals.note(Some(pts), start + Duration::from_millis(i as u64));
        }
        assert_eq!(arrivals.of(80), Some(start + Duration::from_millis(3)));
        assert_eq!((arrivals.of(50), arrivals.packets()), (None, 4));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        (0..1000).for_each(|pts| arrivals.note(Some(pts), now));
        assert_eq!(arrivals.entered().recent.len(), KEPT);
        assert_eq!((arrivals.of(10), arrivals.of(999)), (None, Some(now)));
    }
}
