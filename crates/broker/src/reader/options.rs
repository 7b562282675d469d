//! What is read, and from where on.

use std::{collections::BTreeMap, time::Duration};

use lookout_schema::{CameraId, RecordKind};

/// Where reading begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest record that the topics still have.
    Beginning,
    /// With what came so long ago.
    Ago(Duration),
    /// With what comes after the reader was opened.
    #[default]
    Now,
    /// Each partition where its last reader stopped; with the oldest record where none was, or where the records
    /// there are gone.
    Places(Places),
}

/// The offset of the next record to read, by kind and partition.
pub type Places = BTreeMap<(RecordKind, i32), i64>;

/// What to read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    pub from: ReadFrom,
    pub kinds: Vec<RecordKind>,
    /// Stop at what was the end when the reader was opened, rather than wait for more.
    pub until_end: bool,
    /// Only what belongs to this camera.
    pub camera: Option<CameraId>,
    pub missing: Missing,
}

/// What to do about a topic that does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// Wait for it before the first record is read, or fail where the reader is to stop at the end.
    #[default]
    Wait,
    /// Read the others; it is read from its beginning once it exists, and so are partitions that are added.
    Follow,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            from: ReadFrom::default(),
            kinds: vec![RecordKind::Frame, RecordKind::Status],
            until_end: false,
            camera: None,
            missing: Missing::default(),
        }
    }
}
