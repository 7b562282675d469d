//! The tracking algorithms that a configuration can name.

use std::str::FromStr;

/// A tracking algorithm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TrackerAlgorithm {
    /// Lookout's own tracker.
    #[default]
    Lookout,
    /// SORT (Bewley et al. 2016) with its published settings.
    Sort,
    /// ByteTrack (Zhang et al. 2021) with the defaults of the PyPI package `trackers`.
    ByteTrack,
    /// OC-SORT (Cao et al. 2023) with the defaults of the PyPI package `trackers`.
    OcSort,
}

/// The name of an algorithm is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tracker; the trackers are lookout, sort, bytetrack and ocsort")]
pub struct UnknownTracker(pub String);

impl TrackerAlgorithm {
    /// All algorithms, the default first.
    pub const ALL: [Self; 4] = [Self::Lookout, Self::Sort, Self::ByteTrack, Self::OcSort];

    /// Returns the name in configuration files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lookout => "lookout",
            Self::Sort => "sort",
            Self::ByteTrack => "bytetrack",
            Self::OcSort => "ocsort",
        }
    }
}

impl FromStr for TrackerAlgorithm {
    type Err = UnknownTracker;

    fn from_str(name: &str) -> Result<Self, UnknownTracker> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name);
        found.ok_or_else(|| UnknownTracker(name.to_owned()))
    }
}
