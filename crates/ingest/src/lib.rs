//! Cameras and files to frames, on GStreamer.
//!
//! A camera is a [`CameraSource`]. Each connection is a pipeline of its own, thrown away whole when it
//! fails, ends or goes silent:
//!
//! ```text
//! source ─ decodebin ─ appsink ─▶ tap: counted, fps limit ─▶ fitted to the model's input ─▶ intake
//! └──── GStreamer's threads ─────────────────────────────┘  └──────── the camera's thread ───────┘
//! ```
//!
//! The source of an RTSP camera is a client of our own with `rtpbin` behind it (`rtsp`).
//!
//! The picture is scaled behind appsink, so that no element has to be set anew when the stream changes its
//! shape, and a frame and its [`Ticket`](lookout_stage::Ticket) are never
//! apart.
//!
//! The source's size is that of the displayed frame: with square pixels, and turned as the stream says.

mod annexb;
mod arrival;
mod autoplug;
mod backoff;
mod camera;
mod capture;
mod container;
mod converter;
mod cuda_memory;
mod cut;
mod decoder_input;
mod decoder_policy;
mod decoders;
mod demuxer;
mod elements;
mod fault;
mod file;
mod fitter;
mod gif;
mod guard;
mod keyframe;
mod nvcodec;
mod orientation;
mod pace;
mod pipe;
mod pipeline;
mod planes;
mod probe;
mod rtp_time;
mod rtsp;
mod sei;
mod select;
mod session;
mod silence;
mod snapshots;
mod stamp;
mod still;
mod tap;
mod teardown;
mod transport_stream;
mod wall_clock;
mod yuv;

pub use camera::{CameraSource, Wanted};
pub use decoders::{Decoder, decoders};
pub use fault::Fault;
pub use pipe::is_pipe;
pub use pipeline::init;
pub use probe::{Probed, probe};
pub use teardown::wait_for_pipelines;
