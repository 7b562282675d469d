//! Helpers shared by the end-to-end tests.

pub mod adas;
pub mod browser;
pub mod fleet;
pub mod isolation;
pub mod kafka;
pub mod kafka_acls;
pub mod monitor;
pub mod netns;
pub mod program;
pub mod records;
pub mod rtsp;
pub mod scripted_camera;
pub mod source;
pub mod video;
