//! What libtorch's CUDA has and `tch` does not bind: streams of one's own, graphs, pinned memory; and GPU kernels that
//! libtorch does not have (`kernels.cu`). See `cuda.cpp` beside this file. Without CUDA every call returns an error.

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
    fn lookout_cuda_memory_used(device: i32, error: *mut c_char, capacity: usize) -> i64;
}

/// Whether this program was built with a libtorch with CUDA.
pub fn compiled() -> bool {
    // SAFETY: takes nothing and returns a constant.
    unsafe { lookout_cuda_compiled() }
}

/// Has cuDNN measure its algorithms for each shape, and compute fp32 convolutions in fp32 rather than TF32.
pub fn configure() {
    // SAFETY: sets two flags of libtorch's global context.
    unsafe { lookout_cuda_configure() }
}

/// A stream of a GPU, on which work is done in order, beside that of other streams.
#[derive(Debug)]
pub struct Slot(NonNull<c_void>);

// SAFETY: a stream may be used from any thread; `&mut self` keeps two threads from using one at a time.
unsafe impl Send for Slot {}

impl Slot {
    /// A stream of the GPU `device`.
    ///
    /// # Errors
    /// No such GPU, or no CUDA.
    pub fn new(device: usize) -> Result<Self, FusedError> {
        Self::with_priority(device, false)
    }

    /// A stream of the GPU `device` whose kernels come before those of other streams that have not begun.
    ///
    /// # Errors
    /// No such GPU, or no CUDA.
    pub fn urgent(device: usize) -> Result<Self, FusedError> {
        Self::with_priority(device, true)
    }

    fn with_priority(device: usize, urgent: bool) -> Result<Self, FusedError> {
        let device = i32::try_from(device).unwrap_or(i32::MAX);
        // SAFETY: the callee ends every exception and returns null with a message.
        let new = |error, size| unsafe { lookout_cuda_slot_new(device, urgent, error, size) };
        call("a CUDA stream", new).map(Self)
    }

    /// Runs `work` with all of this thread's GPU work on this stream.
    pub fn run<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        struct Leave(NonNull<c_void>);
        impl Drop for Leave {
            fn drop(&mut self) {
                // SAFETY: the slot outlives the call of `run`.
                unsafe { lookout_cuda_slot_leave(self.0.as_ptr()) }
            }
        }
        // SAFETY: the slot lives.
        unsafe { lookout_cuda_slot_enter(self.0.as_ptr()) };
        let _leave = Leave(self.0);
        work(self)
    }

    /// Records what `work` has the GPU do, without doing it. To be called within [`Slot::run`]. What the graph reads
    /// and writes has to live as long as the graph.
    ///
    /// # Errors
    /// `work` did what cannot be recorded: waited for the GPU, asked CUDA for memory by itself, failed.
    pub fn capture<T>(&mut self, work: impl FnOnce() -> T) -> Result<(Graph, T), FusedError> {
        // SAFETY: the slot lives; the callee ends every exception.
        let begin = |error, size| unsafe { lookout_cuda_capture_begin(self.0.as_ptr(), error, size) };
        let graph = Graph(call("the start of a CUDA graph", begin)?);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: both live. A recording that has begun is ended whatever came of it.
        let end =
            |error, size| unsafe { lookout_cuda_capture_end(self.0.as_ptr(), graph.0.as_ptr(), error, size) };
        let ended = check("a CUDA graph", end);
        match done {
            Ok(value) => ended.map(|()| (graph, value)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Waits until the GPU has done all work of this stream.
    ///
    /// # Errors
    /// The work failed.
    pub fn wait(&mut self) -> Result<(), FusedError> {
        // SAFETY: the slot lives.
        check("the GPU", |error, size| unsafe { lookout_cuda_slot_wait(self.0.as_ptr(), error, size) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { lookout_cuda_slot_free(self.0.as_ptr()) }
    }
}

/// A recorded sequence of GPU work. Each replay reads and writes the memory that it was recorded with.
#[derive(Debug)]
pub struct Graph(NonNull<c_void>);

// SAFETY: as for `Slot`.
unsafe impl Send for Graph {}

impl Graph {
    /// Begins the work on the current stream, and does not wait for it.
    ///
    /// # Errors
    /// CUDA refused.
    pub fn replay(&mut self) -> Result<(), FusedError> {
        // SAFETY: the graph lives.
        check("a CUDA graph", |error, size| unsafe {
            lookout_cuda_graph_replay(self.0.as_ptr(), error, size)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { lookout_cuda_graph_free(self.0.as_ptr()) }
    }
}

/// Memory of the host that a GPU copies from and to while the host goes on: `[count]` of `kind`, which is `Uint8` or
/// `Float`.
///
/// # Errors
/// No memory, or no CUDA.
pub fn pinned(count: i64, kind: Kind) -> Result<Tensor, FusedError> {
    // SAFETY: the callee ends every exception.
    tensor("pinned memory", |error, size| unsafe {
        lookout_cuda_pinned(count, kind == Kind::Float, error, size)
    })
}

/// Copies `parts`, one after the other, to the start of `to`, memory of the host in bytes. Large copies are shared by
/// some threads: one alone is slower than the way to a GPU.
///
/// # Errors
/// `to` is too small or something else.
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
        return Err(FusedError { operator: "a copy", reason });
    }
    // SAFETY: contiguous bytes of the host, `numel` of them, which `&mut` keeps from others for the time of this call.
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

/// Begins to copy `from` over `to` on the current stream, and does not wait for it. Pinned memory has to stay as it is
/// until the stream has been waited for.
///
/// # Errors
/// Sizes that do not fit.
pub fn copy(to: &mut Tensor, from: &Tensor) -> Result<(), FusedError> {
    // SAFETY: both outlive the call, and libtorch keeps their memory until the copy is done.
    check("a copy", |error, size| unsafe { lookout_cuda_copy(to.as_mut_ptr(), from.as_ptr(), error, size) })
}

/// Begins to copy the bytes at `address` in the memory of its GPU over `to` on the current stream, and does not wait for
/// it.
///
/// # Errors
/// `to` is no contiguous tensor of bytes on a GPU; CUDA refused.
///
/// # Safety
/// As many bytes as `to` has begin at `address`, and stay as they are until the stream has been waited for.
pub unsafe fn copy_picture(to: &mut Tensor, address: u64) -> Result<(), FusedError> {
    // SAFETY: the caller's, and the callee checks the tensor.
    check("a copy", |error, size| unsafe { lookout_cuda_copy_picture(to.as_mut_ptr(), address, error, size) })
}

/// A decoded frame in NV12 in a GPU's memory, and how it is brought to a picture; fields as in `kernels.cu`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Nv12 {
    /// Addresses of the planes.
    pub y: u64,
    pub uv: u64,
    pub y_stride: i64,
    pub uv_stride: i64,
    /// Width and height of the plane of Y.
    pub size: [i32; 2],
    /// What is seen, in parts of the width and height: left, top, width, height.
    pub seen: [f32; 4],
    /// Where that lies in the output: x, y, width, height.
    pub to: [i32; 4],
    /// Width and height of the output.
    pub input: [i32; 2],
    /// The Y of black, and factors of 2^16: Y's, V to red, U to green, V to green, U to blue.
    pub matrix: [i32; 6],
}

impl Nv12 {
    /// Begins to write the picture `[height, width, 3]` to `out` on the current stream, and does not wait for it.
    ///
    /// # Errors
    /// `out` has another size, type or device; kernels that do not compile.
    ///
    /// # Safety
    /// The planes are at their addresses in the memory of the current stream's GPU until the stream has been waited for.
    pub unsafe fn scale(&self, out: &mut Tensor) -> Result<(), FusedError> {
        // SAFETY: the caller's; the callee checks the tensor. It reads this structure's fields and not the one behind them.
        check("scaling", |error, size| unsafe { lookout_cuda_scale(out.as_mut_ptr(), self, error, size) })
    }
}

/// The CUDA context (`CUcontext`) that libtorch uses on the GPU `device`.
///
/// # Errors
/// No such GPU, or no CUDA.
pub fn context(device: usize) -> Result<usize, FusedError> {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    let mut context = 0;
    check("the CUDA context", |error, size| {
        // SAFETY: the callee ends every exception and returns 0 with a message.
        context = unsafe { lookout_cuda_context(device, error, size) };
        context != 0
    })?;
    Ok(context as usize)
}

/// How bytes become a network's input.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Normalization {
    /// Of red, green and blue, 0 to 1.
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
    /// Height and width of the output; what is beyond the image is zero.
    pub padded: [i64; 2],
    kind: i32,
    blocks: i32,
}

impl Normalization {
    /// To numbers of `kind` (`Float`, `BFloat16` or `Half`): `[N, 3, H, W]`, or with `blocks`, for even sides,
    /// `[N, 16, H / 2 + 3, W / 2 + 3]` as `normalize_blocks` in `kernels.cu` says.
    pub fn new(mean: [f32; 3], deviation: [f32; 3], padded: [i64; 2], kind: Kind, blocks: bool) -> Self {
        let kind = match kind {
            Kind::BFloat16 => 1,
            Kind::Half => 2,
            _ => 0,
        };
        Self { mean, deviation, padded, kind, blocks: i32::from(blocks) }
    }

    /// `bytes` `[N, H, W, 3]` on a GPU to what the normalization says, the channels last in memory.
    ///
    /// # Errors
    /// Another tensor; kernels that do not compile.
    pub fn apply(&self, bytes: &Tensor) -> Result<Tensor, FusedError> {
        // SAFETY: the pointers outlive the call, and the callee checks the tensor.
        tensor("normalization", |error, size| unsafe {
            lookout_cuda_normalize(bytes.as_ptr(), self, error, size)
        })
    }
}

/// As [`crate::max_pool_of_positives`], in bf16 or fp16 on a GPU.
///
/// # Errors
/// Another tensor; kernels that do not compile.
pub fn max_pool_of_positives(x: &Tensor) -> Result<Tensor, FusedError> {
    // SAFETY: the pointer outlives the call, and the callee checks the tensor.
    tensor("max pool", |error, size| unsafe { lookout_cuda_max_pool(x.as_ptr(), error, size) })
}

/// A dense detector's outputs of a level, contiguous and on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct LevelOutputs<'a> {
    /// `[N, A, K]`
    pub logits: &'a Tensor,
    /// `[N, A, 4]`
    pub boxes: &'a Tensor,
    /// Logits of how central a place is in its object, `[N, A, 1]`.
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

/// What of a dense detector's outputs is a detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionRules {
    /// Whether boxes are distances from an anchor's center rather than shifts of the anchor.
    pub distances: bool,
    /// A box has to score above this, 0 to 1.
    pub score_threshold: f32,
    /// Candidates of a level at most.
    pub per_level: usize,
    /// Detections of an image at most.
    pub max_detections: usize,
    /// Of two boxes of a class whose intersection over union is above this, the better one stays.
    pub iou: f64,
    /// Height and width of the image, at whose sides boxes are cut off.
    pub size: [i64; 2],
}

/// How a dense detector's outputs are read.
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

/// The most candidates of a level, and detections of an image, that [`LevelReading`] takes.
pub const MOST: (usize, usize) = (1024, 1024);

impl LevelReading {
    /// Returns the reading by `rules`; none where a number is beyond [`MOST`].
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

    /// `[N, 1 + max_detections * 6]` in fp32: how many there are, then of each, the best first, `x1, y1, x2, y2`, score
    /// and class. What is beyond the count means nothing.
    ///
    /// # Errors
    /// Tensors that do not fit; kernels that do not compile; a GPU with less than 100 KiB of shared memory for a block.
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
        tensor("detections", |error, size| unsafe {
            lookout_cuda_read_levels(raw.as_ptr(), count, self, error, size)
        })
    }
}

/// Gives memory that libtorch holds and nobody uses back to the GPUs.
pub fn release_unused_memory() {
    // SAFETY: takes nothing, and ends every exception.
    unsafe { lookout_cuda_release_unused_memory() }
}

/// Returns the bytes in use on the GPU `device`, by whatever program.
///
/// # Errors
/// No such GPU, or no CUDA.
pub fn memory_used(device: usize) -> Result<i64, FusedError> {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    let mut used = 0;
    check("the GPU's memory", |error, size| {
        // SAFETY: the callee ends every exception and returns 0 with a message.
        used = unsafe { lookout_cuda_memory_used(device, error, size) };
        used != 0
    })?;
    Ok(used)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn parts_are_filled_in_one_after_the_other_by_any_number_of_threads() {
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
    fn what_the_kernels_do_not_take_is_refused() {
        let reading = |per_level, max_detections| {
            let (distances, score_threshold, iou, size) = (false, 0.5, 0.5, [64, 64]);
            let rules = DetectionRules { distances, score_threshold, per_level, max_detections, iou, size };
            LevelReading::new(rules)
        };
        assert!(reading(1000, 300).is_some());
        assert!(reading(5000, 300).is_none() && reading(1000, 5000).is_none());
    }

    #[test]
    fn without_cuda_every_call_is_an_error() {
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
            context(0).unwrap_err(),
        ];
        for error in errors {
            assert!(error.reason.contains("without CUDA"), "{error}");
        }
    }
}
