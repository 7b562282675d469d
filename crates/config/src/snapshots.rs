//! `[snapshots]`: small JPEGs of frames.

use std::{num::NonZeroU32, time::Duration};

use crate::reader::Section;

/// Interval, size and quality of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Minimum time between two snapshots of a camera.
    pub interval: Duration,
    /// Width in pixels. Narrower frames are not enlarged.
    pub width: NonZeroU32,
    /// JPEG quality, 1 to 100.
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
