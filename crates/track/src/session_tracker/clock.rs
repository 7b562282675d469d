//! Time within a session, from two clocks that may disagree.
//!
//! `pts_ns` is the stream time: even, and without steps when a camera's wall clock is set during a stream. If
//! its rate differs from that of `captured_at`, one of the two is wrong, and so is every speed and time to
//! collision derived from it. The time at which the worker published the records decides which one is wrong.

use lookout_schema::{Clock as CaptureClock, FrameRecord, Timestamp};
use serde::{Deserialize, Serialize};

/// The window over which the rates of the two clocks are compared.
const WINDOW_S: f64 = 0.75;
/// The maximum difference of the two rates, as a fraction of the elapsed time. Frames that arrive late and
/// then in a burst stay below it.
const TOLERANCE: f64 = 0.3;
/// The number of consecutive windows that establish a difference in rate. A single window can be a step, as
/// when a clock is set.
const WINDOWS: u32 = 2;
/// The maximum offset that is compensated for, in seconds. A larger step of a clock is not.
const MAX_OWED_S: f64 = 5.0;

/// A clock that advances by less than this fraction of the elapsed time counts as stopped.
const STANDS_STILL: f64 = 0.05;

/// Which of a record's times is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampConflict {
    /// `pts_ns` is not trusted; the time base is `captured_at`.
    Stream,
    /// `captured_at` is not trusted; the time base is `pts_ns`, as it is when both agree.
    Captured,
}

impl TimestampConflict {
    /// Returns the name of the record's field that is not trusted.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Stream => "pts_ns",
            Self::Captured => "captured_at",
        }
    }
}

/// Time within a session, in seconds from its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Clock {
    start: Timestamp,
    start_pts_ns: Option<u64>,
    now_s: f64,
    /// The session's time at `start`.
    #[serde(default)]
    start_s: f64,
    #[serde(default)]
    doubt: Option<TimestampConflict>,
    #[serde(default)]
    paces: Option<Paces>,
}

/// The clocks at the start of a window, and the results of the windows before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Paces {
    captured: Timestamp,
    pts_ns: u64,
    published: Timestamp,
    shown: Shown,
    /// The number of consecutive windows with the result `shown`.
    windows: u32,
    /// By how much the stream time ran ahead of the capture time in these windows, in seconds.
    ahead_s: f64,
    /// The same for the windows before, if they showed the opposite. Frames that arrive late and then in a
    /// burst only compensate for the delay.
    owed_s: f64,
    /// The offset of each clock from the worker's clock in these windows.
    stream_off_s: f64,
    captured_off_s: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shown {
    Agree,
    StreamSlow,
    StreamFast,
}

/// The effect of a frame on the session's time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tick {
    pub(super) at_s: f64,
    /// The time that is no longer trusted from now on, if that has changed.
    pub(super) changed: Option<Option<TimestampConflict>>,
    /// Whether another clock is the time base from now on, so that earlier measurements are invalid.
    pub(super) is_other: bool,
}

impl Clock {
    /// Starts with a session's first frame. A distrusted time stays distrusted in the camera's next session.
    pub(super) fn new(frame: &FrameRecord, doubt: Option<TimestampConflict>) -> Self {
        Self {
            start: frame.captured_at,
            start_pts_ns: frame.pts_ns,
            now_s: 0.0,
            start_s: 0.0,
            doubt,
            paces: None,
        }
    }

    pub(super) fn doubt(&self) -> Option<TimestampConflict> {
        self.doubt
    }

    pub(super) fn step(&mut self, frame: &FrameRecord) -> Tick {
        let mut tick = Tick { at_s: self.now_s, changed: None, is_other: false };
        if let Some(doubt) = self.compare(frame).filter(|doubt| *doubt != self.doubt) {
            let by = |doubt| doubt == Some(TimestampConflict::Stream);
            tick.changed = Some(doubt);
            // When the two clocks agree again, both give the same time.
            tick.is_other = by(doubt) && !by(self.doubt);
            if by(doubt) != by(self.doubt) {
                if !tick.is_other {
                    self.now_s = self.at(frame);
                }
                (self.start, self.start_pts_ns, self.start_s) = (frame.captured_at, frame.pts_ns, self.now_s);
            }
            self.doubt = doubt;
        }
        self.now_s = self.at(frame);
        tick.at_s = self.now_s;
        tick
    }

    /// Returns the time of a frame by the trusted clock.
    fn at(&self, frame: &FrameRecord) -> f64 {
        let pts =
            frame.pts_ns.zip(self.start_pts_ns).filter(|_| self.doubt != Some(TimestampConflict::Stream));
        let by_stream = pts.map(|(now, start)| now.saturating_sub(start) as f64 / 1e9);
        let passed = by_stream.unwrap_or_else(|| seconds(self.start, frame.captured_at));
        (self.start_s + passed).max(self.now_s)
    }

    /// Compares the rates of the clocks. Returns which time to distrust once enough windows agree.
    fn compare(&mut self, frame: &FrameRecord) -> Option<Option<TimestampConflict>> {
        let pts_ns = frame.pts_ns?;
        let fresh = Paces {
            captured: frame.captured_at,
            pts_ns,
            published: frame.published_at,
            shown: Shown::Agree,
            windows: 0,
            ahead_s: 0.0,
            owed_s: 0.0,
            stream_off_s: 0.0,
            captured_off_s: 0.0,
        };
        let paces = *self.paces.get_or_insert(fresh);
        let by_captured = seconds(paces.captured, frame.captured_at);
        let by_stream = (i128::from(pts_ns) - i128::from(paces.pts_ns)) as f64 / 1e9;
        let passed = by_captured.abs().max(by_stream.abs());
        if passed < WINDOW_S {
            return None;
        }
        let shown = match by_stream - by_captured {
            off if off.abs() <= TOLERANCE * passed => Shown::Agree,
            off if off < 0.0 => Shown::StreamSlow,
            _ => Shown::StreamFast,
        };
        let by_worker = seconds(paces.published, frame.published_at);
        let before = match (shown == paces.shown, paces.shown) {
            (true, _) => paces,
            (false, Shown::Agree) => fresh,
            (false, _) => Paces { owed_s: paces.ahead_s.clamp(-MAX_OWED_S, MAX_OWED_S), ..fresh },
        };
        let ahead_s = before.ahead_s + (by_stream - by_captured);
        let next = Paces {
            shown,
            windows: before.windows + 1,
            ahead_s,
            owed_s: before.owed_s,
            stream_off_s: before.stream_off_s + (by_stream - by_worker),
            captured_off_s: before.captured_off_s + (by_captured - by_worker),
            ..fresh
        };
        self.paces = Some(next);
        if next.windows < WINDOWS {
            return None;
        }
        if shown == Shown::Agree {
            return Some(None);
        }
        let left_s = ahead_s + next.owed_s;
        if left_s * ahead_s <= 0.0 || left_s.abs() < TOLERANCE * WINDOW_S {
            return None;
        }
        let captured_is_off = match frame.clock {
            // A file is read at any speed, so the worker's clock does not help. Consumers see `captured_at`,
            // so it is trusted unless it has stopped.
            CaptureClock::File => by_captured.abs() < STANDS_STILL * passed,
            CaptureClock::Rtcp | CaptureClock::Arrival => next.captured_off_s.abs() > next.stream_off_s.abs(),
        };
        Some(Some(if captured_is_off { TimestampConflict::Captured } else { TimestampConflict::Stream }))
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_unix_us() - from.as_unix_us()) as f64 / 1e6
}
