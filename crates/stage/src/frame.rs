//! A decoded frame, and a batch of them.

use std::{fmt, sync::Arc, time::Instant};

use lookout_schema::{CameraId, Clock, SessionId, Size, Timestamp};

use crate::{Keep, Placement, Snapshot, Ticket};

/// What is known of a frame apart from its pixels.
#[derive(Debug, Clone)]
pub struct FrameHeader {
    pub camera: CameraId,
    pub session: SessionId,
    /// Counts the decoded frames of the session from 0.
    pub seq: u64,
    pub pts_ns: Option<u64>,
    pub captured_at: Timestamp,
    pub clock: Clock,
    /// The size of the frame as it is displayed: with square pixels, and turned as the stream says.
    pub source: Size,
    /// Where the model's input lies in the source frame.
    pub placement: Placement,
    /// What of it is asked for.
    pub keep: Arc<Keep>,
    /// Whether the source goes on without us, so that an old frame is worth less than a new one.
    pub live: bool,
    /// When its data reached the worker, before it was decoded; for files, when it left the decoder.
    /// Its age is counted from here by this machine's own clock, whatever the camera's clock says.
    pub arrived_at: Instant,
    /// When it left the decoder.
    pub decoded_at: Instant,
    /// When it was ready for a batch.
    pub ready_at: Instant,
}

/// The model's input picture: `[height, width, 3]`, RGB, 8 bits, rows without padding.
#[derive(Clone)]
pub struct Pixels {
    size: Size,
    rgb: Arc<[u8]>,
}

impl Pixels {
    /// Takes `rgb` if it holds just the bytes of a picture of `size`.
    pub fn new(size: Size, rgb: impl Into<Arc<[u8]>>) -> Option<Self> {
        let rgb = rgb.into();
        (rgb.len() == size.width as usize * size.height as usize * 3).then_some(Self { size, rgb })
    }

    pub fn size(&self) -> Size {
        self.size
    }

    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({}x{})", self.size.width, self.size.height)
    }
}

/// A frame on its way to a batch.
#[derive(Debug)]
pub struct Frame {
    pub header: FrameHeader,
    pub ticket: Ticket,
    pub pixels: Pixels,
    /// Of some frames, where snapshots are asked for.
    pub snapshot: Option<Snapshot>,
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchClosed {
    Full,
    /// The device had nothing to do.
    Idle,
    /// Its oldest frame had waited for `max_wait_ms`.
    Deadline,
    /// No more frames will come.
    Drain,
}

/// Frames of one size, across cameras, for one forward pass.
#[derive(Debug)]
pub struct FrameBatch {
    pub frames: Vec<Frame>,
    pub closed_by: BatchClosed,
}
