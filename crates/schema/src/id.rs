//! Identifiers. They are validated when they are parsed, so the rest of the program can use them in file
//! names, Kafka keys, metric labels and log lines without escaping.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

/// The error of a text that is not a valid camera or worker id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a valid {kind} id: use 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_`, `-`, starting with a \
     letter or digit"
)]
pub struct InvalidId {
    /// The kind of id: `camera` or `worker`.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub text: String,
}

fn is_id(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_id(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { kind: $kind, text: text.chars().take(80).collect() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Identifies a camera, or a file that is used as one. It is the Kafka key of the camera's records.
    CameraId, "camera"
}

text_id! {
    /// Identifies a worker process.
    WorkerId, "worker"
}

/// Identifies a session, a ULID. A session is a part of one connection to a camera with comparable capture times. A new
/// session starts when the camera is reconnected, and when the clock of its frames changes such that their times would
/// go back or jump. `seq` starts at 0 in each session. The later of two sessions of a camera has the higher id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SessionId(#[schemars(with = "String")] Ulid);

impl SessionId {
    /// Returns a new id, which sorts by the time at which it was generated.
    pub fn generate() -> Self {
        Self(Ulid::generate())
    }

    /// Returns a new id that is higher than this one, even if the machine's clock was set back in the
    /// meantime.
    #[must_use]
    pub fn next(self) -> Self {
        let new = Ulid::generate();
        if new > self.0 { Self(new) } else { Self(self.0.increment().unwrap_or(new)) }
    }
}

/// The error of a text that is not a valid session id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a valid session id: use a ULID, 26 letters and digits")]
pub struct InvalidSession {
    /// The text, cut to 80 characters.
    pub text: String,
}

impl FromStr for SessionId {
    type Err = InvalidSession;

    fn from_str(text: &str) -> Result<Self, InvalidSession> {
        let invalid = |_| InvalidSession { text: text.chars().take(80).collect() };
        text.parse().map(Self).map_err(invalid)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Fencing token: increases each time a camera changes its owner. Of two records of one camera, the one with the lower
/// epoch is from a former owner.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_ids_with_special_characters() {
        for good in ["a", "north-gate", "cam_1.left", "0", &"x".repeat(64)] {
            assert_eq!(good.parse::<CameraId>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".", "a b", "ä", "a/b", "<b>", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<CameraId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn validates_ids_in_json() {
        assert!(serde_json::from_str::<CameraId>("\"gate 1\"").is_err());
        assert_eq!(serde_json::to_string(&"gate".parse::<WorkerId>().unwrap()).unwrap(), "\"gate\"");
    }

    #[test]
    fn session_ids_are_unique_and_round_trip() {
        assert_ne!(SessionId::generate(), SessionId::generate());
        let session = SessionId::generate();
        assert_eq!(session.to_string().parse(), Ok(session));
        assert!("01JDFY9M4K8Z6Q2W3X5V7T9R1".parse::<SessionId>().is_err());
    }

    #[test]
    fn later_sessions_are_higher_after_the_clock_was_set_back() {
        let mut last = "7ZZZZZZZZZ0000000000000000".parse::<SessionId>().unwrap();
        for _ in 0..100 {
            assert!(last.next() > last);
            last = last.next();
        }
    }
}
