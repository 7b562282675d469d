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

/// Frames that a codec may send ahead of one that is shown before them.
const REORDERED: usize = 16;

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

    /// When the data of the frame at `pts` had arrived, which leaves the decoder now.
    ///
    /// Frames that are predicted from later ones arrive behind these. As each was captured before any that is shown
    /// after it, it counts as arrived when the first of them did, so that arrivals have the order of the frames.
    pub(crate) fn take(&self, pts: u64) -> Option<Instant> {
        let recent = &mut self.entered().recent;
        // The first packet of several with one time: its data has waited longest.
        let at = recent.iter().position(|(known, _)| *known == pts)?;
        let near = recent.iter().skip(at.saturating_sub(REORDERED)).filter(|(known, _)| *known >= pts);
        let arrived = near.map(|(_, arrived)| *arrived).min();
        recent.remove(at);
        arrived
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
    fn a_reordered_frame_arrived_no_later_than_those_shown_after_it() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        for (i, pts) in [0, 120, 40, 80].into_iter().enumerate() {
            arrivals.note(Some(pts), start + Duration::from_millis(i as u64));
        }
        // In the order in which they are shown: 120 arrived before 40 and 80, which were captured before it.
        let shown = [0, 40, 80, 120].map(|pts| arrivals.take(pts).map(|at| (at - start).as_millis()));
        assert_eq!(shown, [Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!((arrivals.take(50), arrivals.packets()), (None, 4));
    }

    #[test]
    fn frames_that_all_have_one_time_have_their_own_arrivals() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        for frame in 0..300 {
            arrivals.note(Some(7), start + Duration::from_millis(frame));
            assert_eq!(arrivals.take(7), Some(start + Duration::from_millis(frame)));
        }
    }

    #[test]
    fn only_the_latest_are_kept() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        (0..1000).for_each(|pts| arrivals.note(Some(pts), now));
        assert_eq!(arrivals.entered().recent.len(), KEPT);
        assert_eq!((arrivals.take(10), arrivals.take(999)), (None, Some(now)));
    }
}
