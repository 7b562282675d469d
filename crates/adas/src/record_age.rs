//! The age of a record, and whether its times are plausible.

use std::time::Duration;

use lookout_schema::{Clock, FrameRecord, Timestamp};

/// The maximum clock difference between machines. NTP keeps it lower.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// The age class of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RecordAge {
    Fresh {
        seconds: f64,
    },
    Stale,
    /// The record's times are later than now.
    Future,
}

impl RecordAge {
    pub(crate) fn of(frame: &FrameRecord, now: Timestamp, budget: Duration) -> Self {
        // The capture times of a file are its stream time, so its frames have no meaningful age.
        let times = match frame.clock {
            Clock::File => [frame.published_at; 2],
            Clock::Rtcp | Clock::Arrival => [frame.captured_at, frame.published_at],
        };
        if times.iter().any(|time| *time > now + MAX_SKEW) {
            return Self::Future;
        }
        // If the camera's clock runs ahead, the worker's clock is the better one.
        let oldest = times[0].min(times[1]);
        let age = Duration::from_millis(u64::try_from(now.ms_since(oldest)).unwrap_or(0));
        if age > budget { Self::Stale } else { Self::Fresh { seconds: age.as_secs_f64() } }
    }
}
