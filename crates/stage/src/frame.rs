//! A decoded frame, and a batch of frames.

use std::{fmt, sync::Arc, time::Instant};

use lookout_schema::{CameraId, Clock, SessionId, Size, Timestamp};

use crate::{GpuPicture, Keep, Placement, Snapshot, Ticket};

/// The metadata of a frame, without its pixels.
#[derive(Debug, Clone)]
pub struct FrameHeader {
    pub camera: CameraId,
    pub session: SessionId,
    /// The sequence number, which counts the decoded frames of the session from 0.
    pub seq: u64,
    pub pts_ns: Option<u64>,
    pub captured_at: Timestamp,
    pub clock: Clock,
    /// The size of the frame as it is displayed: with square pixels, after the rotation that the stream specifies.
    pub source: Size,
    /// The resize transform from the source frame to the model's input.
    pub placement: Placement,
    /// The detection filter of the frame's camera.
    pub keep: Arc<Keep>,
    /// Whether the source is live, so that it continues whether or not it is read and a new frame is worth more than an
    /// old one.
    pub live: bool,
    /// When the frame's data reached the worker, before decoding; for files, when it left the decoder. The frame's age
    /// is counted from here by the clock of this machine, independently of the camera's clock.
    pub arrived_at: Instant,
    /// When the frame left the decoder.
    pub decoded_at: Instant,
    /// When the frame was ready to be put in a batch.
    pub ready_at: Instant,
}

/// The model's input image: `[height, width, 3]`, RGB, 8 bits, rows without padding, in host memory or in the memory of
/// a GPU.
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
    /// Returns an image of `size` from `rgb`, or `None` if the length of `rgb` is not `width * height * 3` bytes.
    pub fn new(size: Size, rgb: impl Into<Arc<[u8]>>) -> Option<Self> {
        let rgb = rgb.into();
        let expected = size.width as usize * size.height as usize * 3;
        (rgb.len() == expected).then_some(Self { size, bytes: Bytes::Host(rgb) })
    }

    /// Returns a black image.
    pub fn black(size: Size) -> Self {
        let bytes = size.width as usize * size.height as usize * 3;
        Self { size, bytes: Bytes::Host(std::iter::repeat_n(0, bytes).collect()) }
    }

    /// Returns an image of `size` in a GPU's memory.
    pub fn on_gpu(size: Size, picture: Arc<dyn GpuPicture>) -> Self {
        Self { size, bytes: Bytes::Gpu(picture) }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns the bytes in host memory. For an image in a GPU's memory, this is a copy, for which the first call
    /// waits.
    pub fn rgb(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Host(rgb) => rgb,
            Bytes::Gpu(picture) => picture.download(),
        }
    }

    /// Returns the address of the bytes in the memory of the GPU `device`, or `None` if they are not in its memory.
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
    /// The snapshot of this frame, if one was due.
    pub snapshot: Option<Snapshot>,
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchClosed {
    Full,
    /// The device was idle.
    Idle,
    /// The oldest frame of the batch had waited for `max_wait_ms`.
    Deadline,
    /// All cameras have ended, so no more frames will come.
    Drain,
}

/// Frames of one size, from one or more cameras, for one forward pass.
#[derive(Debug)]
pub struct FrameBatch {
    pub frames: Vec<Frame>,
    pub closed_by: BatchClosed,
}
