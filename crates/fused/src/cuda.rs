//! CUDA features of libtorch that `tch` does not bind, and GPU kernels that libtorch does not have.
//!
//! These are separate streams, graphs and pinned memory (`cuda.cpp` beside this file), and the kernels in `kernels.cu`.
//! Without CUDA, functions that return a `Result` return an error.

mod detections;
mod stream;

use std::{ffi::c_void, os::raw::c_char};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use self::detections::RawLevel;
pub use self::{
    detections::{DetectionRules, LevelOutputs, LevelReading, MOST},
    stream::{Graph, Slot},
};
use crate::{
    FusedError,
    guarded::{check, tensor},
};

unsafe extern "C" {
    fn lookout_cuda_compiled() -> bool;
    fn lookout_cuda_configure();
    fn lookout_cuda_slot_new(device: i32, urgent: bool, error: *mut c_char, capacity: usize) -> *mut c_void;
    fn lookout_cuda_slot_free(slot: *mut c_void);
    fn lookout_cuda_slot_enter(slot: *mut c_void);
    fn lookout_cuda_slot_leave(slot: *mut c_void);
    fn lookout_cuda_slot_wait(slot: *mut c_void, error: *mut c_char, capacity: usize) -> bool;
    fn lookout_cuda_capture_begin(slot: *mut c_void, error: *mut c_char, capacity: usize) -> *mut c_void;
    fn lookout_cuda_capture_end(
        slot: *mut c_void,
        graph: *mut c_void,
        error: *mut c_char,
        capacity: usize,
    ) -> bool;
    fn lookout_cuda_graph_replay(graph: *mut c_void, error: *mut c_char, capacity: usize) -> bool;
    fn lookout_cuda_graph_free(graph: *mut c_void);
    fn lookout_cuda_pinned(count: i64, floats: bool, error: *mut c_char, capacity: usize) -> *mut C_tensor;
    fn lookout_cuda_copy(
        to: *mut C_tensor,
        from: *const C_tensor,
        error: *mut c_char,
        capacity: usize,
    ) -> bool;
    fn lookout_cuda_copy_image(to: *mut C_tensor, from: u64, error: *mut c_char, capacity: usize) -> bool;
    fn lookout_cuda_scale(
        out: *mut C_tensor,
        frame: *const Nv12,
        error: *mut c_char,
        capacity: usize,
    ) -> bool;
    fn lookout_cuda_context(device: i32, error: *mut c_char, capacity: usize) -> u64;
    fn lookout_cuda_normalize(
        bytes: *const C_tensor,
        args: *const Normalization,
        error: *mut c_char,
        capacity: usize,
    ) -> *mut C_tensor;
    fn lookout_cuda_max_pool(x: *const C_tensor, error: *mut c_char, capacity: usize) -> *mut C_tensor;
    fn lookout_cuda_read_levels(
        levels: *const RawLevel,
        count: i32,
        args: *const LevelReading,
        error: *mut c_char,
        capacity: usize,
    ) -> *mut C_tensor;
    fn lookout_cuda_release_unused_memory();
    fn lookout_cuda_allocated(device: i32) -> i64;
    fn lookout_cuda_memory_used(device: i32, error: *mut c_char, capacity: usize) -> i64;
    fn lookout_cuda_check_device(device: i32, error: *mut c_char, capacity: usize) -> bool;
}

/// Returns whether this program was built with a libtorch that supports CUDA.
pub fn compiled() -> bool {
    // SAFETY: the function has no arguments and returns a constant.
    unsafe { lookout_cuda_compiled() }
}

/// Makes cuDNN benchmark its algorithms for each shape, and compute fp32 convolutions in fp32 rather than in TF32.
pub fn configure() {
    // SAFETY: sets two flags of libtorch's global context.
    unsafe { lookout_cuda_configure() }
}

/// Allocates pinned host memory `[count]` of `kind`, which is `Uint8` or `Float`. A GPU copies from and to it
/// asynchronously.
///
/// # Errors
/// There is not enough memory, or no CUDA.
pub fn pinned(count: i64, kind: Kind) -> Result<Tensor, FusedError> {
    // SAFETY: the callee catches all exceptions.
    tensor("pinned memory allocation", |error, size| unsafe {
        lookout_cuda_pinned(count, kind == Kind::Float, error, size)
    })
}

/// Copies `parts`, one after the other, to the start of `to`, which holds bytes in host memory.
///
/// Several threads share a large copy, because a single thread is slower than the transfer to a GPU.
///
/// # Errors
/// `to` is too small, or is not a contiguous tensor of bytes in host memory.
pub fn fill(to: &mut Tensor, parts: &[&[u8]]) -> Result<(), FusedError> {
    const SHARERS: usize = 4;
    const SHARE: usize = 2 << 20;
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if to.kind() != Kind::Uint8
        || to.device() != tch::Device::Cpu
        || !to.is_contiguous()
        || to.numel() < total
    {
        let reason = format!("{total} bytes do not fit into {:?} of {:?}", to.size(), to.kind());
        return Err(FusedError { operator: "copy to host memory", reason });
    }
    // SAFETY: `to` has at least `total` contiguous bytes in host memory, as checked above, and `&mut` gives exclusive
    // access to them during this call.
    let mut rest = unsafe { std::slice::from_raw_parts_mut(to.data_ptr().cast::<u8>(), total) };
    let each = parts.len().div_ceil((total / SHARE).clamp(1, SHARERS)).max(1);
    std::thread::scope(|scope| {
        let mut shares = parts.chunks(each).map(|parts| {
            let size = parts.iter().map(|part| part.len()).sum();
            let (mine, others) = std::mem::take(&mut rest).split_at_mut(size);
            rest = others;
            (mine, parts)
        });
        let own = shares.next();
        for (to, parts) in shares {
            scope.spawn(move || fill_share(to, parts));
        }
        if let Some((to, parts)) = own {
            fill_share(to, parts);
        }
    });
    Ok(())
}

fn fill_share(mut to: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let (mine, rest) = to.split_at_mut(part.len());
        mine.copy_from_slice(part);
        to = rest;
    }
}

/// Starts to copy `from` to `to` on the current stream, without waiting for it.
///
/// If one of them is pinned memory, callers must not change it until they have waited for the stream.
///
/// # Errors
/// The sizes differ.
pub fn copy(to: &mut Tensor, from: &Tensor) -> Result<(), FusedError> {
    // SAFETY: both outlive the call, and libtorch keeps their memory until the copy is done.
    check("GPU copy", |error, size| unsafe { lookout_cuda_copy(to.as_mut_ptr(), from.as_ptr(), error, size) })
}

/// Starts to copy the bytes at `address` in GPU memory to `to` on the current stream, without waiting for it.
///
/// # Errors
/// `to` is not a contiguous tensor of bytes on a GPU, or CUDA returns an error.
///
/// # Safety
/// `address` must point to at least as many bytes as `to` has, in the memory of the GPU of `to`. They must not change
/// until the stream has been waited for.
pub unsafe fn copy_image(to: &mut Tensor, address: u64) -> Result<(), FusedError> {
    // SAFETY: the caller guarantees the source, and the callee checks the tensor.
    check("GPU copy", |error, size| unsafe { lookout_cuda_copy_image(to.as_mut_ptr(), address, error, size) })
}

/// A decoded NV12 frame in GPU memory, and how it is scaled. The layout must be the same as in `kernels.cu`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Nv12 {
    /// GPU addresses of the planes.
    pub y: u64,
    pub uv: u64,
    pub y_stride: i64,
    pub uv_stride: i64,
    /// Width and height of the Y plane, in pixels.
    pub size: [i32; 2],
    /// The visible part of the frame as fractions of its width and height: left, top, width, height.
    pub seen: [f32; 4],
    /// The position of the visible part in the output, in pixels: x, y, width, height.
    pub to: [i32; 4],
    /// Width and height of the output, in pixels.
    pub input: [i32; 2],
    /// The Y of black, and then factors in units of 2^-16: Y, V to red, U to green, V to green, U to blue.
    pub matrix: [i32; 6],
}

impl Nv12 {
    /// Starts to write the scaled RGB image `[height, width, 3]` to `out` on the current stream, without waiting for
    /// it.
    ///
    /// # Errors
    /// `out` has another size, dtype or device, or the kernels cannot be compiled.
    ///
    /// # Safety
    /// The planes must stay at their addresses in the memory of the current stream's GPU until the stream has been
    /// waited for.
    pub unsafe fn scale(&self, out: &mut Tensor) -> Result<(), FusedError> {
        // SAFETY: the caller guarantees the planes, and the callee checks the tensor. It reads only the fields of this
        // structure, and not the `out` pointer after them.
        check("frame scaling", |error, size| unsafe {
            lookout_cuda_scale(out.as_mut_ptr(), self, error, size)
        })
    }
}

/// Returns the CUDA context (`CUcontext`) that libtorch uses on the GPU `device`.
///
/// # Errors
/// There is no such GPU, or no CUDA.
pub fn context(device: usize) -> Result<usize, FusedError> {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    let mut context = 0;
    check("CUDA context creation", |error, size| {
        // SAFETY: the callee catches all exceptions and returns 0 with a message.
        context = unsafe { lookout_cuda_context(device, error, size) };
        context != 0
    })?;
    Ok(context as usize)
}

/// The conversion of an image's bytes to a network's input.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Normalization {
    /// Mean (`mean`) and standard deviation (`deviation`) of red, green and blue, on a scale of 0 to 1.
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
    /// Height and width of the output. Padding below and to the right of the image is zero.
    pub padded: [i64; 2],
    kind: i32,
    blocks: i32,
}

impl Normalization {
    /// Creates a normalization with an output of `kind` (`Float`, `BFloat16` or `Half`).
    ///
    /// The output is `[N, 3, H, W]`. With `blocks`, which requires an even height and width, it is
    /// `[N, 16, H / 2 + 3, W / 2 + 3]` as described at `normalize_blocks` in `kernels.cu`.
    pub fn new(mean: [f32; 3], deviation: [f32; 3], padded: [i64; 2], kind: Kind, blocks: bool) -> Self {
        let kind = match kind {
            Kind::BFloat16 => 1,
            Kind::Half => 2,
            _ => 0,
        };
        Self { mean, deviation, padded, kind, blocks: i32::from(blocks) }
    }

    /// Normalizes `bytes` `[N, H, W, 3]` on a GPU. The output is in channels-last memory format.
    ///
    /// # Errors
    /// `bytes` has another shape, dtype or device, or the kernels cannot be compiled.
    pub fn apply(&self, bytes: &Tensor) -> Result<Tensor, FusedError> {
        // SAFETY: the pointers outlive the call, and the callee checks the tensor.
        tensor("normalization", |error, size| unsafe {
            lookout_cuda_normalize(bytes.as_ptr(), self, error, size)
        })
    }
}

/// Computes the same as [`crate::max_pool_of_positives`], in bf16 or fp16 on a GPU.
///
/// # Errors
/// `x` has another dtype, device or memory format, its channels are not a multiple of 8, or the kernels cannot be
/// compiled.
pub fn max_pool_of_positives(x: &Tensor) -> Result<Tensor, FusedError> {
    // SAFETY: the pointer outlives the call, and the callee checks the tensor.
    tensor("max pool", |error, size| unsafe { lookout_cuda_max_pool(x.as_ptr(), error, size) })
}

/// Releases GPU memory that libtorch has cached and does not use.
pub fn release_unused_memory() {
    // SAFETY: the function has no arguments and catches all exceptions.
    unsafe { lookout_cuda_release_unused_memory() }
}

/// Returns the bytes of the GPU `device` that the tensors of this process occupy.
pub fn allocated(device: usize) -> i64 {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    // SAFETY: the callee catches all exceptions and returns 0.
    unsafe { lookout_cuda_allocated(device) }
}

/// Returns the bytes in use on the GPU `device`, by all programs.
///
/// # Errors
/// There is no such GPU, or no CUDA.
pub fn memory_used(device: usize) -> Result<i64, FusedError> {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    let mut used = 0;
    check("GPU memory query", |error, size| {
        // SAFETY: the callee catches all exceptions and returns 0 with a message.
        used = unsafe { lookout_cuda_memory_used(device, error, size) };
        used != 0
    })?;
    Ok(used)
}

/// Waits for all work on the GPU `device`, and checks that this process can use the GPU.
///
/// # Errors
/// CUDA's error, which stays until the process ends; or there is no such GPU.
pub fn check_device(device: usize) -> Result<(), FusedError> {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    check("GPU check", |error, size| {
        // SAFETY: the callee catches all exceptions and returns false with a message.
        unsafe { lookout_cuda_check_device(device, error, size) }
    })
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn fill_concatenates_parts_with_any_thread_count() {
        for (parts, size) in [(0, 5), (1, 7), (3, 100), (9, 1 << 20), (128, 150_528)] {
            let parts: Vec<Vec<u8>> =
                (0..parts).map(|part: usize| (0..size).map(|i| (i * 31 + part) as u8).collect()).collect();
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let expected = parts.concat();
            let mut to = Tensor::zeros([expected.len() as i64 + 3], (Kind::Uint8, Device::Cpu));
            fill(&mut to, &slices).unwrap();
            let mut filled = vec![0; expected.len() + 3];
            to.copy_data(&mut filled, expected.len() + 3);
            assert!(filled.starts_with(&expected) && filled.ends_with(&[0, 0, 0]));
        }
        let mut small = Tensor::zeros([3], (Kind::Uint8, Device::Cpu));
        assert!(fill(&mut small, &[&[1, 2], &[3, 4]]).is_err());
        let mut floats = Tensor::zeros([30], (Kind::Float, Device::Cpu));
        assert!(fill(&mut floats, &[&[1, 2]]).is_err());
    }

    #[test]
    fn all_calls_fail_without_cuda() {
        if compiled() {
            return;
        }
        let x = Tensor::zeros([1, 4, 4, 3], (Kind::Uint8, Device::Cpu));
        let normalization = Normalization::new([0.0; 3], [1.0; 3], [4, 4], Kind::Float, false);
        let errors = [
            Slot::new(0).unwrap_err(),
            pinned(1, Kind::Float).unwrap_err(),
            normalization.apply(&x).unwrap_err(),
            max_pool_of_positives(&x).unwrap_err(),
            memory_used(0).unwrap_err(),
            check_device(0).unwrap_err(),
            context(0).unwrap_err(),
        ];
        for error in errors {
            assert!(error.reason.contains("without CUDA"), "{error}");
        }
    }
}
