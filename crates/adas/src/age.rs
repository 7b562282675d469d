//! How old a record is, and whether its times can be believed.

use std::time::Duration;

use lookout_schema::{Clock, FrameRecord, Timestamp};

/// Machines whose clocks are set by NTP differ by less than this.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// How old a record is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Age {
    Fresh {
        seconds: f64,
    },
    Stale,
    /// It says that it comes from later than now.
    Future,
}

impl Age {
    pub(crate) fn of(frame: &FrameRecord, now: Timestamp, budget: Duration) -> Self {
        // A file's frames are dated by its stream time, which says nothing of how old they are.
        let times = match frame.clock {
            Clock::File => [frame.published_at; 2],
            Clock::Rtcp | Clock::Arrival => [frame.captured_at, frame.published_at],
        };
        if times.iter().any(|time| *time > now + MAX_SKEW) {
            return Self::Future;
        }
        // Of a camera's clock that runs ahead the worker's knows better.
        let oldest = times[0].min(times[1]);
        let age = Duration::from_millis(u64::try_from(now.ms_since(oldest)).unwrap_or(0));
        if age > budget { Self::Stale } else { Self::Fresh { seconds: age.as_secs_f64() } }
    }
}
