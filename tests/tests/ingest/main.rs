//! Cameras of the crate `lookout-ingest`, against real RTSP servers, scripted cameras and files.

mod display;
mod files;
mod fuzz;
mod hostile;
mod live;
mod reconnect;
mod rtsp;
mod rtsp_client;
mod rtsp_time;
mod streams;
