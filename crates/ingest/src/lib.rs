//! Cameras and files to frames, on GStreamer.
