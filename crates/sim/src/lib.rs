//! Simulated cameras: a road or a yard is generated from a seed and rendered from fixed or moving cameras, with the
//! ground truth of every frame: the objects' boxes, visibility, distances and times to collision.
//!
//! Everything is a function of the seed and the time: any frame can be rendered independently, in any order, and is the
//! same on every machine.

mod camera;
mod clip;
mod crops;
mod dataset;
mod error;
mod random;
mod render;
mod rendered_frame;
mod rtsp_server;
mod scene;
mod truth;
mod video;
mod weather;

pub use camera::{Camera, View};
pub use clip::{Clip, ClipSettings, Unit};
pub use crops::write_crops;
pub use dataset::{DatasetSettings, place, write_dataset, write_frames};
pub use error::SimError;
pub use render::Renderer;
pub use rendered_frame::RenderedFrame;
pub use rtsp_server::{
    Fault, FaultKind, GroundTruthSink, InvalidFault, OnFrame, RtspServer, RtspServerSettings,
};
pub use scene::{Actor, Kind, Place, Scene};
pub use truth::{FrameTruth, ObjectTruth};
pub use video::write_video;
pub use weather::Weather;
