//! Decodes cameras and video files into frames for the network, with GStreamer.
//!
//! A camera is a [`CameraSource`]. Each connection has its own pipeline, which is discarded as a whole when it
//! fails, ends or stalls:
//!
//! ```text
//! source ─ decodebin ─ appsink ─▶ callback: counter, fps limit ─▶ preprocessing (`Preprocessor`) ─▶ camera's queue
//! └──── GStreamer's threads ─────────────────────────────┘  └────────── the camera's thread ──────────┘
//! ```
//!
//! For RTSP cameras, the source is Lookout's own RTSP client with `rtpbin` behind it (`rtsp`).
//!
//! Frames are scaled after appsink. No element then has to be reconfigured when the stream changes its format, and
//! each frame stays with its [`Ticket`](lookout_stage::Ticket), which counts it in the ledger.
//!
//! The source size is that of the displayed frame: with square pixels, and rotated as the stream states.

mod annexb;
mod appsink;
mod arrival;
mod autoplug;
mod backoff;
mod camera;
mod capture;
mod container;
mod converter;
mod crop;
mod cuda_context;
mod cuda_memory;
mod decoder_input;
mod decoder_policy;
mod decoders;
mod demuxer;
mod elements;
mod fault;
mod file;
mod frame_rate_limit;
mod gif;
mod gst_element;
mod guard;
mod keyframe;
mod nvcodec;
mod orientation;
mod pipe;
mod pipeline;
mod plane_scaler;
mod preprocess_error;
mod preprocessor;
mod probe;
mod rtp_time;
mod rtsp;
mod sei;
mod session;
mod silence;
mod snapshots;
mod stamp;
mod still;
mod teardown;
mod track_selection;
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
