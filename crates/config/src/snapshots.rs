//! `[snapshots]`: small pictures of what cameras see.

use std::{num::NonZeroU32, time::Duration};

use crate::reader::Section;

/// How often a picture of a camera is published, and what it is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// The least time between two pictures of a camera.
    pub interval: Duration,
    /// Pixels; of a source that is narrower, the source's own.
    pub width: NonZeroU32,
    /// Of the JPEG, 1 to 100.
    pub quality: u8,
}

const WIDTH: NonZeroU32 = NonZeroU32::new(320).unwrap();

impl SnapshotSettings {
    pub(crate) fn read(section: Section<'_, '_>) -> Self {
        let width = section.integer("width", 64..=1920).and_then(|n| NonZeroU32::new(n as u32));
        let settings = Self {
            interval: section.millis("interval_ms", 100..=3_600_000).unwrap_or(Duration::from_secs(1)),
            width: width.unwrap_or(WIDTH),
            quality: section.integer("quality", 1..=100).unwrap_or(70) as u8,
        };
        section.finish();
        settings
    }
}
