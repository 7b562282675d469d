//! Errors of the simulation.

use std::{io, path::PathBuf};

use lookout_schema::Size;
use thiserror::Error;

/// The simulation failed, or its output could not be written.
#[derive(Debug, Error)]
pub enum SimError {
    #[error("cannot write `{path}`: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot render an image of {}x{}", .0.width, .0.height)]
    Size(Size),
    #[error("cannot encode the video: {reason}; the GStreamer plugins `ugly` and `bad` are required")]
    Encode { reason: String },
    #[error("cannot start the RTSP test server: {reason}")]
    RtspServer { reason: String },
    #[error("cannot write the image `{path}`: {reason}")]
    Image { path: PathBuf, reason: String },
}
