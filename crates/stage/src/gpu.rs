//! Pictures in a GPU's memory, and who scales them there.

use std::fmt;

use lookout_schema::Size;

use crate::{Pixels, Rect};

/// Bytes in a GPU's memory: `[height, width, 3]`, RGB, complete when this exists and unchanged while it lives.
pub trait GpuPicture: fmt::Debug + Send + Sync {
    /// CUDA's index of the GPU.
    fn device(&self) -> usize;

    /// Where the bytes begin in the GPU's memory.
    fn address(&self) -> u64;

    /// The bytes in the host's memory, copied at the first call.
    fn download(&self) -> &[u8];
}

/// Scales decoded frames on the GPU of the network, and converts them to RGB.
pub trait GpuScaler: fmt::Debug + Send + Sync {
    /// CUDA's index of the GPU.
    fn device(&self) -> usize;

    /// The CUDA context (`CUcontext`) that the network uses. A GPU does the work of one context at a time, so whoever
    /// decodes beside the network has to use this one.
    fn context(&self) -> usize;

    /// Returns `frame` scaled as `plan` says. It has been read when this returns.
    ///
    /// # Errors
    /// CUDA's message, such as for want of memory.
    fn scale(&self, frame: &Nv12Frame, plan: &ScalePlan) -> Result<Pixels, String>;
}

/// A frame in NV12 in the memory of a GPU: a plane of Y, and one of U and V by turns with half the width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nv12Frame {
    /// Addresses in the GPU's memory.
    pub y: u64,
    pub uv: u64,
    /// Bytes from a row to the next.
    pub y_stride: usize,
    pub uv_stride: usize,
    /// Pixels of the plane of Y.
    pub size: Size,
}

/// How a frame is brought into a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalePlan {
    /// The part of the frame that is seen, in parts of its width and height: left, top, width, height.
    pub seen: [f64; 4],
    /// The size of the picture.
    pub input: Size,
    /// Where the part lies in the picture, which is black elsewhere.
    pub to: Rect,
    /// How YUV becomes RGB.
    pub matrix: YuvFactors,
}

/// Factors of 2^16 by which YUV becomes RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YuvFactors {
    /// The Y of black.
    pub black: i32,
    pub y: i32,
    pub v_to_red: i32,
    pub u_to_green: i32,
    pub v_to_green: i32,
    pub u_to_blue: i32,
}
