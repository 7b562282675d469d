//! `[fleet]`: a worker among others, whose cameras are the registry's.

use std::{path::Path, path::PathBuf, time::Duration};

use crate::reader::Section;

/// A worker among others, whose cameras are the registry's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// Partitions of the registry where it has to be created; that many workers can share it.
    pub partitions: u16,
    /// How long a worker may be out of reach before its cameras are another's.
    pub session_timeout: Duration,
    /// Whether a worker that comes back within the session timeout has the cameras that it had.
    pub static_member: bool,
    /// The most cameras that this worker watches.
    pub max_cameras: Option<usize>,
    /// Where `${secret:NAME}` is looked up: a folder with a file of that name, or a file of `NAME = "..."`.
    pub secrets: Option<PathBuf>,
    /// What the names of the environment variables begin with that the registry's cameras may name.
    pub env_prefix: String,
}

impl FleetSettings {
    /// Partitions where nobody says how many.
    pub const PARTITIONS: u16 = 24;

    pub(crate) fn read(section: Section<'_, '_>, base: &Path) -> Self {
        let default = Self::default();
        let settings = Self {
            partitions: section.integer("partitions", 1..=10_000).map_or(default.partitions, |n| n as u16),
            session_timeout: section
                .millis("session_timeout_ms", 1_000..=1_800_000)
                .unwrap_or(default.session_timeout),
            static_member: section.boolean("static_member").unwrap_or(default.static_member),
            max_cameras: section.integer("max_cameras", 1..=100_000).map(|n| n as usize),
            secrets: section.text("secrets").map(|path| base.join(path)),
            env_prefix: section.text("env_prefix").unwrap_or(default.env_prefix),
        };
        section.finish();
        settings
    }

    /// How often a worker tells the group that it is there.
    pub fn heartbeat(&self) -> Duration {
        (self.session_timeout / 6).min(Duration::from_secs(3))
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self {
            partitions: Self::PARTITIONS,
            session_timeout: Duration::from_secs(6),
            static_member: false,
            max_cameras: None,
            secrets: None,
            env_prefix: "CAMERA_".into(),
        }
    }
}
