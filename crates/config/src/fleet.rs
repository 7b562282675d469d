//! `[fleet]`: settings of a worker that shares the cameras of the registry with other workers.

use std::{path::Path, path::PathBuf, time::Duration};

use crate::reader::Section;

/// Settings of a worker that shares the cameras of the registry with other workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// Partitions of the registry topic if the worker creates it: the number of workers that can share the
    /// cameras.
    pub partitions: u16,
    /// How long a worker may be unable to reach Kafka before other workers take over its cameras.
    pub session_timeout: Duration,
    /// Whether the worker is a static group member, which keeps its cameras if it restarts within the session
    /// timeout.
    pub static_member: bool,
    /// What the worker does with its cameras while it cannot reach Kafka.
    pub when_disconnected: WhenDisconnected,
    /// Maximum number of cameras that this worker runs.
    pub max_cameras: Option<usize>,
    /// Where `${secret:NAME}` is looked up: a folder with one file per secret, or a file with lines
    /// `NAME = "..."`.
    pub secrets: Option<PathBuf>,
    /// Prefix of the environment variables that cameras of the registry may use.
    pub env_prefix: String,
}

/// What a worker does with its cameras if it cannot reach Kafka for longer than the session timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDisconnected {
    /// It runs them until Kafka answers. If Kafka is down for all workers, nobody else could run them.
    #[default]
    Keep,
    /// It stops them, because another worker may be able to reach Kafka and run them.
    Stop,
}

impl FleetSettings {
    /// Default of `partitions`.
    pub const PARTITIONS: u16 = 24;

    pub(crate) fn read(section: Section<'_, '_>, base: &Path) -> Self {
        let default = Self::default();
        let settings = Self {
            partitions: section.integer("partitions", 1..=10_000).map_or(default.partitions, |n| n as u16),
            session_timeout: section
                .millis("session_timeout_ms", 1_000..=1_800_000)
                .unwrap_or(default.session_timeout),
            static_member: section.boolean("static_member").unwrap_or(default.static_member),
            when_disconnected: section
                .choice(
                    "when_disconnected",
                    &[("keep", WhenDisconnected::Keep), ("stop", WhenDisconnected::Stop)],
                )
                .unwrap_or_default(),
            max_cameras: section.integer("max_cameras", 1..=100_000).map(|n| n as usize),
            secrets: section.text("secrets").map(|path| base.join(path)),
            env_prefix: section.text("env_prefix").unwrap_or(default.env_prefix),
        };
        section.finish();
        settings
    }

    /// Returns the interval of the heartbeats to the group coordinator.
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
            when_disconnected: WhenDisconnected::default(),
            max_cameras: None,
            secrets: None,
            env_prefix: "CAMERA_".into(),
        }
    }
}
