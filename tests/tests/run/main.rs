//! `lookout run` with its embedded broker, as a user runs it.

mod beside;
mod files;
mod rtsp;
mod snapshots;
mod stop;
