//! A decoded frame, and a batch of frames.

use std::{sync::Arc, time::Instant};

use lookout_schema::{CameraId, Clock, SessionId, Size, Timestamp};

use crate::{DetectionFilter, Pixels, ResizeMode, ResizeTransform, Snapshot, Ticket};

/// The metadata of a frame, without its pixels.
#[derive(Debug, Clone)]
pub struct FrameHeader {
    /// The camera.
    pub camera: CameraId,
    /// The connection to the camera during which the frame was received.
    pub session: SessionId,
    /// The sequence number, which counts the decoded frames of the session from 0.
    pub seq: u64,
    /// Presentation timestamp in the stream, in nanoseconds, if the stream has one.
    pub pts_ns: Option<u64>,
    /// When the frame was captured, by `clock`.
    pub captured_at: Timestamp,
    /// The clock of `captured_at`.
    pub clock: Clock,
    /// The size of the frame as it is displayed: with square pixels, after the rotation that the stream specifies.
    pub source: Size,
    /// The resize transform from the source frame to the model's input.
    pub placement: ResizeTransform,
    /// The detection filter of the frame's camera.
    pub keep: Arc<DetectionFilter>,
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

/// A frame on its way to a batch.
#[derive(Debug)]
pub struct Frame {
    /// The frame's metadata.
    pub header: FrameHeader,
    /// The frame's entry in its camera's ledger.
    pub ticket: Ticket,
    /// The model's input image.
    pub pixels: Pixels,
    /// The snapshot of this frame, if one was due.
    pub snapshot: Option<Snapshot>,
}

impl Frame {
    /// Returns a frame that was not decoded, for benchmarks and tests: an image that is not resized, all of whose times are
    /// `at`.
    pub fn synthetic(ticket: Ticket, pixels: Pixels, live: bool, at: Instant) -> Self {
        let (camera, session, seq) = ticket.frame();
        let header = FrameHeader {
            camera: camera.clone(),
            session,
            seq,
            pts_ns: None,
            captured_at: Timestamp::now(),
            clock: if live { Clock::Arrival } else { Clock::File },
            source: pixels.size(),
            placement: ResizeMode::Stretch.place(pixels.size(), pixels.size()),
            keep: Arc::default(),
            live,
            arrived_at: at,
            decoded_at: at,
            ready_at: at,
        };
        Self { header, ticket, pixels, snapshot: None }
    }
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchClosed {
    /// The batch has the maximum number of frames.
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
    /// The frames, at least one.
    pub frames: Vec<Frame>,
    /// Why no further frame was added.
    pub closed_by: BatchClosed,
}
