//! Names of the topics.

use thiserror::Error;

/// The names of Lookout's topics under one prefix. Each name ends with the major version of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Results of frames.
    pub frames: String,
    /// Status of cameras and workers.
    pub status: String,
    /// Small JPEGs of frames, if the pipeline file enables snapshots.
    pub snapshots: String,
    /// Tracks, published by the consumers that track objects.
    pub tracks: String,
    /// Alerts of consumers.
    pub alerts: String,
    /// The registry of cameras; compacted.
    pub cameras: String,
    /// The claims: which worker owns which partition of the registry. Compacted, with a single partition.
    pub claims: String,
}

/// The kinds of records that consumers read. Each kind has its own topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// [`FrameRecord`](crate::FrameRecord).
    Frame,
    /// [`StatusRecord`](crate::StatusRecord).
    Status,
    /// [`SnapshotRecord`](crate::SnapshotRecord).
    Snapshot,
    /// [`TrackRecord`](crate::TrackRecord).
    Track,
    /// [`AlertRecord`](crate::AlertRecord).
    Alert,
    /// A camera of the registry.
    Camera,
}

impl RecordKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Frame, Self::Status, Self::Snapshot, Self::Track, Self::Alert, Self::Camera];
}

/// The error of a text that is not a valid topic prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a valid topic prefix: use 1 to 200 of the characters a-z, A-Z, 0-9, `.`, `_`, `-`")]
pub struct InvalidTopicPrefix(pub String);

impl Topics {
    /// Returns the names of the topics under `prefix`.
    ///
    /// # Errors
    /// `prefix` is empty, longer than 200 bytes, or has a character that Kafka does not allow.
    pub fn new(prefix: &str) -> Result<Self, InvalidTopicPrefix> {
        let plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !plain || prefix.is_empty() || prefix.len() > 200 {
            return Err(InvalidTopicPrefix(prefix.chars().take(80).collect()));
        }
        let name = |what: &str| format!("{prefix}.{what}.v1");
        Ok(Self {
            frames: name("frames"),
            status: name("status"),
            snapshots: name("snapshots"),
            tracks: name("tracks"),
            alerts: name("alerts"),
            cameras: name("cameras"),
            claims: name("claims"),
        })
    }

    /// Returns the topic of the records of `kind`.
    pub fn of(&self, kind: RecordKind) -> &str {
        match kind {
            RecordKind::Frame => &self.frames,
            RecordKind::Status => &self.status,
            RecordKind::Snapshot => &self.snapshots,
            RecordKind::Track => &self.tracks,
            RecordKind::Alert => &self.alerts,
            RecordKind::Camera => &self.cameras,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validates_the_prefix() {
        assert_eq!(Topics::new("lookout").unwrap().frames, "lookout.frames.v1");
        for bad in ["", "a b", "ä", "a/b"] {
            assert!(Topics::new(bad).is_err(), "{bad:?}");
        }
    }
}
