//! Files as cameras: containers, streams and kinds of files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod containers;
mod mp4;
mod streams;
