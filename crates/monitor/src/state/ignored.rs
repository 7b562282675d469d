//! Why the monitor ignores a valid record.

/// Why a record was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IgnoreCause {
    /// It was already applied.
    Replayed,
    /// It is from a former owner of the camera.
    StaleEpoch,
    /// It is a duplicate of a processed record, or older than a processed one.
    Duplicate,
    /// Its time lies in the future.
    Future,
    /// The maximum number of cameras or workers is reached.
    Capacity,
}

impl From<lookout_track::IgnoreCause> for IgnoreCause {
    fn from(passed: lookout_track::IgnoreCause) -> Self {
        match passed {
            lookout_track::IgnoreCause::StaleEpoch => Self::StaleEpoch,
            lookout_track::IgnoreCause::Duplicate => Self::Duplicate,
        }
    }
}

impl IgnoreCause {
    pub(crate) const ALL: [Self; 5] =
        [Self::Replayed, Self::StaleEpoch, Self::Duplicate, Self::Future, Self::Capacity];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::StaleEpoch => "stale_epoch",
            Self::Duplicate => "duplicate",
            Self::Future => "future",
            Self::Capacity => "capacity",
        }
    }
}
