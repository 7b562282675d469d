//! CUDA streams and graphs.

use std::{ffi::c_void, ptr::NonNull};

use super::{
    lookout_cuda_capture_begin, lookout_cuda_capture_end, lookout_cuda_graph_free, lookout_cuda_graph_replay,
    lookout_cuda_slot_enter, lookout_cuda_slot_free, lookout_cuda_slot_leave, lookout_cuda_slot_new,
    lookout_cuda_slot_wait,
};
use crate::{
    FusedError,
    guarded::{call, check},
};

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
        let begin_capture = |error, size| unsafe { lookout_cuda_capture_begin(self.0.as_ptr(), error, size) };
        let graph = Graph(call("CUDA graph capture", begin_capture)?);
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
