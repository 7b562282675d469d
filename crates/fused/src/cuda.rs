//! CUDA features of libtorch that `tch` does not bind, and GPU kernels that libtorch does not have.
//!
//! These are separate streams, graphs and pinned memory (`cuda.cpp` beside this file), and the kernels in `kernels.cu`.
//! Without CUDA, functions that return a `Result` return an error.

use std::{ffi::c_void, os::raw::c_char, ptr::NonNull};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::{
    FusedError,
    guarded::{call, check, tensor},
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
    fn lookout_cuda_copy_picture(to: *mut C_tensor, from: u64, error: *mut c_char, capacity: usize) -> bool;
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

/// A CUDA stream of a GPU, with the memory pool of its graphs.
///
/// Its work runs in order, and concurrently with that of other streams.
#[derive(Debug)]
pub struct Slot(NonNull<c_void>);

// SAFETY: a stream may be used from any thread; `&mut self` prevents concurrent use by two threads.
unsafe impl Send for Slot {}

impl Slot {
    /// Creates a stream on the GPU `device`.
    ///
    /// # Errors
    /// There is no such GPU, or no CUDA.
    pub fn new(device: usize) -> Result<Self, FusedError> {
        Self::with_priority(device, false)
    }

    /// Creates a stream on the GPU `device` with high priority: its kernels run before those of other streams that have
    /// not started.
    ///
    /// # Errors
    /// There is no such GPU, or no CUDA.
    pub fn urgent(device: usize) -> Result<Self, FusedError> {
        Self::with_priority(device, true)
    }

    fn with_priority(device: usize, urgent: bool) -> Result<Self, FusedError> {
        let device = i32::try_from(device).unwrap_or(i32::MAX);
        // SAFETY: the callee catches all exceptions and returns null with a message.
        let new = |error, size| unsafe { lookout_cuda_slot_new(device, urgent, error, size) };
        call("CUDA stream creation", new).map(Self)
    }

    /// Runs `work` with this stream as the current stream of this thread.
    pub fn run<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        struct Leave(NonNull<c_void>);
        impl Drop for Leave {
            fn drop(&mut self) {
                // SAFETY: the slot outlives the call of `run`.
                unsafe { lookout_cuda_slot_leave(self.0.as_ptr()) }
            }
        }
        // SAFETY: `self` keeps the slot alive.
        unsafe { lookout_cuda_slot_enter(self.0.as_ptr()) };
        let _leave = Leave(self.0);
        work(self)
    }

    /// Records the GPU work of `work` as a graph, without running it. Must be called within [`Slot::run`].
    ///
    /// Callers must keep the memory that the graph reads and writes alive for as long as the graph.
    ///
    /// # Errors
    /// `work` did something that cannot be recorded, such as waiting for the GPU or allocating memory from CUDA
    /// directly, or it failed.
    pub fn capture<T>(&mut self, work: impl FnOnce() -> T) -> Result<(Graph, T), FusedError> {
        // SAFETY: `self` keeps the slot alive; the callee catches all exceptions.
        let begin = |error, size| unsafe { lookout_cuda_capture_begin(self.0.as_ptr(), error, size) };
        let graph = Graph(call("CUDA graph capture", begin)?);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: the slot and the graph are alive. A recording that was started has to be ended, also after a panic of
        // `work`.
        let end =
            |error, size| unsafe { lookout_cuda_capture_end(self.0.as_ptr(), graph.0.as_ptr(), error, size) };
        let ended = check("CUDA graph capture", end);
        match done {
            Ok(value) => ended.map(|()| (graph, value)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Waits until the GPU has completed all work of this stream.
    ///
    /// # Errors
    /// The work failed.
    pub fn wait(&mut self) -> Result<(), FusedError> {
        // SAFETY: `self` keeps the slot alive.
        check("waiting for the GPU", |error, size| unsafe {
            lookout_cuda_slot_wait(self.0.as_ptr(), error, size)
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: `self` is the only owner of the slot.
        unsafe { lookout_cuda_slot_free(self.0.as_ptr()) }
    }
}

/// A CUDA graph: a recorded sequence of GPU work. Each replay uses the memory addresses of the recording.
#[derive(Debug)]
pub struct Graph(NonNull<c_void>);

// SAFETY: as for `Slot`.
unsafe impl Send for Graph {}

impl Graph {
    /// Starts the work on the current stream, without waiting for it.
    ///
    /// # Errors
    /// CUDA returns an error.
    pub fn replay(&mut self) -> Result<(), FusedError> {
        // SAFETY: `self` keeps the graph alive.
        check("CUDA graph replay", |error, size| unsafe {
            lookout_cuda_graph_replay(self.0.as_ptr(), error, size)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: `self` is the only owner of the graph.
        unsafe { lookout_cuda_graph_free(self.0.as_ptr()) }
    }
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
pub unsafe fn copy_picture(to: &mut Tensor, address: u64) -> Result<(), FusedError> {
    // SAFETY: the caller guarantees the source, and the callee checks the tensor.
    check("GPU copy", |error, size| unsafe {
        lookout_cuda_copy_picture(to.as_mut_ptr(), address, error, size)
    })
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

/// The outputs of one level of a dense detector, contiguous and on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct LevelOutputs<'a> {
    /// `[N, A, K]`
    pub logits: &'a Tensor,
    /// `[N, A, 4]`
    pub boxes: &'a Tensor,
    /// Logits of FCOS's centerness, `[N, A, 1]`.
    pub centers: Option<&'a Tensor>,
    /// `[A, 4]` in fp32.
    pub anchors: &'a Tensor,
}

#[repr(C)]
struct RawLevel {
    logits: *const C_tensor,
    boxes: *const C_tensor,
    centers: *const C_tensor,
    anchors: *const C_tensor,
}

/// The postprocessing of a dense detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionRules {
    /// Whether boxes are distances from an anchor's center, rather than offsets of the anchor.
    pub distances: bool,
    /// Score threshold, 0 to 1. The score of a detection must exceed it.
    pub score_threshold: f32,
    /// Maximum number of candidates per level.
    pub per_level: usize,
    /// Maximum number of detections per image.
    pub max_detections: usize,
    /// NMS threshold: if the IoU of two boxes of one class exceeds it, only the one with the higher score is kept.
    pub iou: f64,
    /// Height and width of the image, to which boxes are clipped.
    pub size: [i64; 2],
}

/// The postprocessing of a dense detector, as arguments of the GPU kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct LevelReading {
    distances: i32,
    threshold: f32,
    per_level: i32,
    max_detections: i32,
    iou: f64,
    height: f32,
    width: f32,
}

/// Maximum numbers of candidates per level and of detections per image that [`LevelReading`] supports.
pub const MOST: (usize, usize) = (1024, 1024);

impl LevelReading {
    /// Creates the postprocessing from `rules`; returns `None` if a number exceeds [`MOST`].
    pub fn new(rules: DetectionRules) -> Option<Self> {
        let (candidates, detections) = MOST;
        (rules.per_level <= candidates && rules.max_detections <= detections).then_some(Self {
            distances: i32::from(rules.distances),
            threshold: rules.score_threshold,
            per_level: rules.per_level.max(1) as i32,
            max_detections: rules.max_detections as i32,
            iou: rules.iou,
            height: rules.size[0] as f32,
            width: rules.size[1] as f32,
        })
    }

    /// Returns the detections of each image as `[N, 1 + max_detections * 6]` in fp32.
    ///
    /// A row starts with the number of detections. Each detection, in descending order of score, has `x1, y1, x2, y2`,
    /// score and class. Values after the last detection are undefined.
    ///
    /// # Errors
    /// The tensors do not fit, the kernels cannot be compiled, or the GPU has less than 100 KiB of shared memory per
    /// block.
    pub fn apply(&self, levels: &[LevelOutputs<'_>]) -> Result<Tensor, FusedError> {
        let raw = levels.iter().map(|level| RawLevel {
            logits: level.logits.as_ptr(),
            boxes: level.boxes.as_ptr(),
            centers: level.centers.map_or(std::ptr::null(), Tensor::as_ptr),
            anchors: level.anchors.as_ptr(),
        });
        let raw: Vec<RawLevel> = raw.collect();
        let count = i32::try_from(raw.len()).unwrap_or(i32::MAX);
        // SAFETY: the pointers outlive the call, and the callee checks the tensors and their number.
        tensor("detection postprocessing", |error, size| unsafe {
            lookout_cuda_read_levels(raw.as_ptr(), count, self, error, size)
        })
    }
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
    fn limits_of_the_kernels_are_checked() {
        let reading = |per_level, max_detections| {
            let (distances, score_threshold, iou, size) = (false, 0.5, 0.5, [64, 64]);
            let rules = DetectionRules { distances, score_threshold, per_level, max_detections, iou, size };
            LevelReading::new(rules)
        };
        assert!(reading(1000, 300).is_some());
        assert!(reading(5000, 300).is_none() && reading(1000, 5000).is_none());
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
