//! The result of a connection to a camera.

use std::time::Duration;

use lookout_schema::SessionId;

use crate::{Fault, nvcodec::Verdict};

/// The result of a connection.
#[derive(Debug)]
pub(crate) struct SessionOutcome {
    pub(crate) end: SessionEnd,
    /// Number of frames that left the decoder.
    pub(crate) frames: u64,
    /// Number of packets that entered the decoder.
    pub(crate) packets: u64,
    /// Number of packets for which the decoder should output a frame.
    pub(crate) shown: u64,
    /// Number of frames whose reference frames are missing.
    pub(crate) undecodable: u64,
    /// Number of gaps in the continuity counters of an MPEG transport stream.
    pub(crate) gaps: u64,
    /// Time between the first frame and the last. None if there was no frame.
    pub(crate) flowed: Option<Duration>,
    /// The last session of the connection.
    pub(crate) session: SessionId,
    /// Whether the connection's GPU decoder failed.
    pub(crate) decoding: Verdict,
}

impl SessionOutcome {
    /// Returns the number of packets that should have given a frame and did not. Valid once the stream has ended.
    pub(crate) fn lost(&self) -> u64 {
        self.shown.saturating_sub(self.frames)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The stream has ended.
    Ended,
    Fault(Fault),
    Stopped,
}
