//! The time of frames, which may be missing, repeated or go backwards.

use serde::{Deserialize, Serialize};

/// The time without a frame after which all tracks end.
const MAX_GAP_S: f64 = 600.0;

/// The clock of a tracker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FrameClock {
    now_s: Option<f64>,
}

/// The time of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FrameTime {
    pub(crate) now_s: f64,
    /// Seconds since the previous frame; `None` for the first frame of a session.
    pub(crate) dt_s: Option<f64>,
    /// Whether the tracks of earlier frames end, because the time jumped.
    pub(crate) is_restart: bool,
}

impl FrameClock {
    /// Advances to a frame at `at_s`. A frame that is not later than the previous one, or whose time is not finite,
    /// does not advance the time. A frame that is earlier by more than `max_back_s`, or later by more than 600 s, starts
    /// another session.
    pub(crate) fn advance(&mut self, at_s: f64, max_back_s: f64) -> FrameTime {
        let Some(before_s) = self.now_s else {
            let now_s = if at_s.is_finite() { at_s } else { 0.0 };
            self.now_s = Some(now_s);
            return FrameTime { now_s, dt_s: None, is_restart: false };
        };
        let at_s = if at_s.is_finite() { at_s } else { before_s };
        let is_restart = before_s - at_s > max_back_s || at_s - before_s > MAX_GAP_S;
        let now_s = if is_restart { at_s } else { at_s.max(before_s) };
        self.now_s = Some(now_s);
        FrameTime { now_s, dt_s: (!is_restart).then_some(now_s - before_s), is_restart }
    }
}
