//! Helpers shared by the end-to-end tests.

pub mod kafka;
pub mod rtsp;
pub mod source;
