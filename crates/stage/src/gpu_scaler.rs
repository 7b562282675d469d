//! Images in GPU memory, and the interface to scale frames there.

use std::fmt;

use lookout_schema::{Rect, Size};

use crate::Pixels;

/// Scales decoded frames on the network's GPU and converts them to RGB.
pub trait GpuScaler: fmt::Debug + Send + Sync {
    /// Returns the CUDA index of the GPU.
    fn device(&self) -> usize;

    /// Returns the CUDA context (`CUcontext`) that the network uses. A GPU executes the work of one context at a time,
    /// so a decoder on the same GPU has to use this one.
    fn context(&self) -> usize;

    /// Returns `frame` scaled as `plan` specifies. `frame` is no longer read after this returns.
    ///
    /// # Errors
    /// Returns CUDA's message, for example when the GPU is out of memory.
    fn scale(&self, frame: &Nv12Frame, plan: &ScalePlan) -> Result<Pixels, String>;
}

/// A frame in NV12 in GPU memory: a Y plane, and an interleaved UV plane of half the width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nv12Frame {
    /// Address of the Y plane in the GPU's memory.
    pub y: u64,
    /// Address of the UV plane in the GPU's memory.
    pub uv: u64,
    /// Stride of the Y plane in bytes.
    pub y_stride: usize,
    /// Stride of the UV plane in bytes.
    pub uv_stride: usize,
    /// The size of the Y plane in pixels.
    pub size: Size,
}

/// How a frame is cropped, scaled and converted into an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalePlan {
    /// The part of the frame that is visible in the image, as fractions of the frame's width and height: left, top,
    /// width, height.
    pub seen: [f64; 4],
    /// The size of the image.
    pub input: Size,
    /// The rectangle of the image that this part fills; the rest is black.
    pub to: Rect,
    /// The conversion from YUV to RGB.
    pub matrix: YuvFactors,
}

/// Coefficients of the conversion from YUV to RGB, in units of 2^-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YuvFactors {
    /// The Y value of black.
    pub black: i32,
    /// Factor of Y for all colors.
    pub y: i32,
    /// Factor of V for red.
    pub v_to_red: i32,
    /// Factor of U for green.
    pub u_to_green: i32,
    /// Factor of V for green.
    pub v_to_green: i32,
    /// Factor of U for blue.
    pub u_to_blue: i32,
}
