//! Timestamps, and the clocks that they are read from.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A time in UTC with a resolution of microseconds, in the format of RFC 3339 with six decimals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("format" = "date-time"))]
pub struct Timestamp {
    unix_us: i64,
}

/// The error of a text that is not a valid timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a valid RFC 3339 time: {reason}")]
pub struct InvalidTimestamp {
    /// The text, cut to 80 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Seconds from NTP's epoch, 1900-01-01, to the Unix epoch, 1970-01-01 (RFC 5905, section 6).
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// The start of the year 0, the first year that RFC 3339 can represent.
const MIN_US: i64 = -62_167_219_200_000_000;
/// The end of 9999-12-29, close to the end of the last year that RFC 3339 can represent.
const MAX_US: i64 = 253_402_127_999_999_999;

impl Timestamp {
    /// Returns the current time of the system clock.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Returns the time `us` microseconds after 1970-01-01T00:00:00Z, clamped to the range of RFC 3339.
    pub fn from_unix_us(us: i64) -> Self {
        Self { unix_us: us.clamp(MIN_US, MAX_US) }
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    pub fn as_unix_us(self) -> i64 {
        self.unix_us
    }

    /// Converts nanoseconds since 1900-01-01, the unit in which GStreamer returns the NTP time of an RTCP
    /// sender report.
    pub fn from_ntp_ns(ns: u64) -> Self {
        Self::from_unix_us((ns / 1_000) as i64 - (NTP_TO_UNIX_S * 1_000_000) as i64)
    }

    /// Returns the time from `earlier` to this one in milliseconds. It can be negative if the two times are
    /// from different clocks.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.unix_us.saturating_sub(earlier.unix_us) / 1_000
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let us = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
        };
        Self::from_unix_us(us)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_unix_us(self.unix_us.saturating_add(us))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_unix_us(self.unix_us.saturating_sub(us))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.unix_us) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        text.parse::<jiff::Timestamp>().map(|time| Self { unix_us: time.as_microsecond() }).map_err(|error| {
            InvalidTimestamp { text: text.chars().take(80).collect(), reason: error.to_string() }
        })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, InvalidTimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

/// The clock that a capture time is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The camera's clock, by its RTCP sender reports (RFC 3550, section 6.4.1).
    Rtcp,
    /// The worker's clock when the frame arrived: later than the capture by the delay of the network and the decoder.
    Arrival,
    /// The stream time of a file, counted from the start of the run.
    File,
}

impl Clock {
    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtcp => "rtcp",
            Self::Arrival => "arrival",
            Self::File => "file",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats_utc_with_six_decimals() {
        let time = Timestamp::from_unix_us(1_795_507_200_123_456);
        assert_eq!(time.to_string(), "2026-11-24T08:00:00.123456Z");
        assert_eq!("2026-11-24T09:00:00.123456+01:00".parse(), Ok(time));
        assert_eq!(Timestamp::from_unix_us(0).to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn converts_ntp_times() {
        assert_eq!(Timestamp::from_ntp_ns(NTP_TO_UNIX_S * 1_000_000_000), Timestamp::from_unix_us(0));
        assert_eq!(Timestamp::from_ntp_ns(0).to_string(), "1900-01-01T00:00:00.000000Z");
    }

    proptest! {
        #[test]
        fn round_trips_as_text(us in any::<i64>()) {
            let time = Timestamp::from_unix_us(us);
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }

        #[test]
        fn parses_or_rejects_any_text(text in ".*") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
