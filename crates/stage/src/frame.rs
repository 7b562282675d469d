//! A decoded frame, and a batch of them.

use std::{fmt, sync::Arc, time::Instant};

use lookout_schema::{CameraId, Clock, SessionId, Size, Timestamp};

use crate::{GpuPicture, Keep, Placement, Snapshot, Ticket};

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

/// The model's input picture: `[height, width, 3]`, RGB, 8 bits, rows without padding, in the memory of the host or of a
/// GPU.
#[derive(Clone)]
pub struct Pixels {
    size: Size,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Host(Arc<[u8]>),
    Gpu(Arc<dyn GpuPicture>),
}

impl Pixels {
    /// Takes `rgb` if it holds just the bytes of a picture of `size`.
    pub fn new(size: Size, rgb: impl Into<Arc<[u8]>>) -> Option<Self> {
        let rgb = rgb.into();
        let expected = size.width as usize * size.height as usize * 3;
        (rgb.len() == expected).then_some(Self { size, bytes: Bytes::Host(rgb) })
    }

    /// A black picture.
    pub fn black(size: Size) -> Self {
        let bytes = size.width as usize * size.height as usize * 3;
        Self { size, bytes: Bytes::Host(std::iter::repeat_n(0, bytes).collect()) }
    }

    /// A picture of `size` in a GPU's memory.
    pub fn on_gpu(size: Size, picture: Arc<dyn GpuPicture>) -> Self {
        Self { size, bytes: Bytes::Gpu(picture) }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// The bytes in the host's memory; of a picture in a GPU's memory a copy, which the first call waits for.
    pub fn rgb(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Host(rgb) => rgb,
            Bytes::Gpu(picture) => picture.download(),
        }
    }

    /// Where the bytes are in the memory of the GPU `device`; none where they are elsewhere.
    pub fn address_on(&self, device: usize) -> Option<u64> {
        match &self.bytes {
            Bytes::Gpu(picture) if picture.device() == device => Some(picture.address()),
            _ => None,
        }
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
