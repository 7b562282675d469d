//! Network inference on a GPU with CUDA graphs: each batch size is recorded once, from the images' bytes to the
//! detections or classes, and then replayed.
//!
//! A forward pass has about 160 kernels, which the host launches more slowly than the GPU runs them. A graph launches
//! all of them at once. A batch of any other size is padded to the next larger recorded size. Each of a device's
//! streams has its own graphs, CUDA stream and pinned buffers, so that the upload and the host's work of one stream
//! overlap with the kernels of another.

use std::fmt;

use lookout_fused::{
    FusedError,
    cuda::{self, Graph, Slot},
};
use lookout_schema::Size;
use lookout_stage::Pixels;
use tch::{Device, Kind, Tensor};

use crate::{
    input::{normalization, upload},
    libtorch_error::caught,
    target::Target,
};

/// Maximum number of images per batch. Larger batches are processed in parts.
const LARGEST: usize = 128;

/// Warm-up passes before a recording: cuDNN chooses its algorithms in the first one.
const PASSES_BEFORE: usize = 2;

/// A network's output for a batch, and the tensors that only the recorded work refers to.
///
/// The output has one row of numbers per image, in fp32 on the network's device.
pub(crate) type Output = (Tensor, Vec<Tensor>);

/// A network's CUDA graphs on one stream of a GPU. A clone starts with neither: it creates its own stream and graphs.
pub(crate) struct Graphs {
    target: Target,
    /// Created by the thread that first needs it.
    slot: Option<Slot>,
    recorded: Vec<Recorded>,
    /// Maximum number of images per batch; below [`LARGEST`] after the GPU ran out of memory.
    largest: usize,
    /// Number of parts in which the last batch was processed.
    passes: usize,
    /// Whether a batch size is recorded even if a larger recorded size could be used with padding.
    exact: bool,
    /// Whether a recording on the stream has failed.
    is_spoiled: bool,
}

/// The CUDA graph for one batch size and one image size.
struct Recorded {
    images: usize,
    size: Size,
    graph: Graph,
    /// `[images, H, W, 3]`: `staged` in pinned host memory, `bytes` on the device.
    staged: Tensor,
    bytes: Tensor,
    /// `[images, numbers]`: `output` on the device, `output_host` in pinned host memory.
    output: Tensor,
    output_host: Tensor,
    /// Keeps tensors alive that the graph reads.
    _alive: Vec<Tensor>,
}

impl Clone for Graphs {
    fn clone(&self) -> Self {
        Self {
            target: self.target,
            slot: None,
            recorded: Vec::new(),
            largest: self.largest,
            passes: 0,
            exact: false,
            is_spoiled: false,
        }
    }
}

impl fmt::Debug for Graphs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<usize> = self.recorded.iter().map(|recorded| recorded.images).collect();
        f.debug_struct("Graphs").field("target", &self.target).field("sizes", &sizes).finish_non_exhaustive()
    }
}

impl Graphs {
    /// Creates the graphs of a network on `target`; returns `None` if `target` is not a GPU.
    pub(crate) fn on(target: Target) -> Option<Self> {
        target.is_gpu().then_some(Self {
            target,
            slot: None,
            recorded: Vec::new(),
            largest: LARGEST,
            passes: 0,
            exact: false,
            is_spoiled: false,
        })
    }

    /// Sets whether each new batch size is recorded, even if a larger recorded size could be used with padding.
    pub(crate) fn record_exactly(&mut self, exact: bool) {
        self.exact = exact;
    }

    /// Returns in how many parts the last batch was processed because GPU memory is short.
    ///
    /// A batch that is split only because it exceeds [`LARGEST`] counts as one part.
    pub(crate) fn passes(&self) -> usize {
        if self.largest < LARGEST { self.passes } else { self.passes.min(1) }
    }

    /// Runs `forward` on `images`, which must all have the same size, and returns one row of its output per image.
    ///
    /// `forward` receives the normalized input, whose height and width are padded to multiples of `multiple`.
    ///
    /// # Errors
    /// The memory is not enough for a single image, or the network failed.
    pub(crate) fn run(
        &mut self,
        images: &[&Pixels],
        multiple: u32,
        forward: &dyn Fn(&Tensor) -> Output,
    ) -> Result<Vec<Vec<f32>>, String> {
        let mut rows = Vec::with_capacity(images.len());
        let mut rest = images;
        self.passes = 0;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.largest));
            match self.run_part(now, multiple, forward) {
                Ok(output) => {
                    rows.extend(output);
                    rest = later;
                    self.passes += 1;
                }
                Err(reason) if now.len() > 1 && is_out_of_memory(&reason) => {
                    self.take_fewer(now.len(), &reason);
                }
                Err(reason) => return Err(reason),
            }
        }
        Ok(rows)
    }

    fn take_fewer(&mut self, images: usize, reason: &str) {
        self.largest = filled_up(images, self.largest) / 2;
        let most = self.largest;
        // libtorch appends advice and a stack trace to its error.
        let reason = reason.lines().next().unwrap_or_default().split(". ").next().unwrap_or_default();
        self.recorded.clear();
        // A stream cannot be used again after a failed recording on it. Otherwise it stays: cuBLAS allocates memory for
        // each stream that it is used on, and never releases it.
        if std::mem::take(&mut self.is_spoiled) {
            self.slot = None;
        }
        cuda::release_unused_memory();
        let in_use_mib = cuda::allocated(device_index(self.target)) >> 20;
        tracing::warn!(
            images,
            most,
            in_use_mib,
            reason,
            "not enough GPU memory for a batch, reducing the batch size"
        );
    }

    fn run_part(
        &mut self,
        images: &[&Pixels],
        multiple: u32,
        forward: &dyn Fn(&Tensor) -> Output,
    ) -> Result<Vec<Vec<f32>>, String> {
        let Some(size) = images.first().map(|image| image.size()) else { return Ok(Vec::new()) };
        let count = filled_up(images.len(), self.largest);
        let slot = match &mut self.slot {
            Some(slot) => slot,
            none => none.insert(Slot::new(device_index(self.target)).map_err(text)?),
        };
        let fits = |recorded: &Recorded| {
            let large_enough = recorded.images == count || (!self.exact && recorded.images > count);
            recorded.size == size && large_enough
        };
        let fitting = self.recorded.iter().enumerate().filter(|(_, recorded)| fits(recorded));
        let index = match fitting.min_by_key(|(_, recorded)| recorded.images) {
            Some((index, _)) => index,
            None => {
                let normalize = |bytes: &Tensor| {
                    normalization(self.target, size, multiple).apply(bytes).unwrap_or_else(|e| panic!("{e}"))
                };
                let whole = |bytes: &Tensor| forward(&normalize(bytes));
                let is_spoiled = &mut self.is_spoiled;
                let recorded =
                    slot.run(|slot| record(slot, self.target, (count, size), &whole, is_spoiled))?;
                self.recorded.push(recorded);
                self.recorded.len() - 1
            }
        };
        let recorded = self.recorded.get_mut(index).ok_or("a recorded CUDA graph is missing")?;
        slot.run(|slot| recorded.replay(slot, images)).map_err(text)
    }
}

/// Records a graph of what `forward` does with the bytes `[images, H, W, 3]`. Sets `is_spoiled` if the recording itself
/// fails, after the warm-up passes.
fn record(
    slot: &mut Slot,
    target: Target,
    (images, size): (usize, Size),
    forward: &dyn Fn(&Tensor) -> Output,
    is_spoiled: &mut bool,
) -> Result<Recorded, String> {
    let shape = [images as i64, i64::from(size.height), i64::from(size.width), 3];
    let pinned = |shape: &[i64], kind| {
        let count = shape.iter().product();
        cuda::pinned(count, kind).map(|memory| memory.view(shape)).map_err(text)
    };
    let staged = pinned(&shape, Kind::Uint8)?;
    // The weights may still be on their way to the device, on a stream that this one does not wait for.
    target.wait();
    let (graph, bytes, (output, alive)) = caught(|| {
        let bytes = Tensor::zeros(shape, (Kind::Uint8, target.device));
        for _ in 0..PASSES_BEFORE {
            drop(tch::no_grad(|| forward(&bytes)));
            slot.wait().map_err(text)?;
        }
        // A recording uses its own memory pool and cannot make libtorch release the memory cached by the warm-up
        // passes.
        cuda::release_unused_memory();
        *is_spoiled = true;
        let (graph, output) = slot.capture(|| tch::no_grad(|| forward(&bytes))).map_err(text)?;
        *is_spoiled = false;
        Ok::<_, String>((graph, bytes, output))
    })??;
    let output_host = pinned(&output.size(), Kind::Float)?;
    Ok(Recorded { images, size, graph, staged, bytes, output, output_host, _alive: alive })
}

impl Recorded {
    fn replay(&mut self, slot: &mut Slot, images: &[&Pixels]) -> Result<Vec<Vec<f32>>, FusedError> {
        let count = images.len() as i64;
        upload(&mut self.bytes, &mut self.staged, images)?;
        self.graph.replay()?;
        let mut here = self.output_host.narrow(0, 0, count);
        cuda::copy(&mut here, &self.output.narrow(0, 0, count))?;
        slot.wait()?;
        let mut numbers = vec![0.0; here.numel()];
        here.copy_data(&mut numbers, here.numel());
        let width = numbers.len() / images.len().max(1);
        Ok(numbers.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Returns the batch size that is recorded for `images` images: the next power of two, but at most `largest`.
fn filled_up(images: usize, largest: usize) -> usize {
    images.next_power_of_two().min(largest)
}

/// Returns whether `reason` is an out-of-memory error of CUDA or cuDNN.
///
/// cuDNN's "unable to find an engine" means that the memory is not enough for any of its algorithms.
fn is_out_of_memory(reason: &str) -> bool {
    ["out of memory", "unable to find an engine"].iter().any(|text| reason.contains(text))
}

fn device_index(target: Target) -> usize {
    match target.device {
        Device::Cuda(index) => index,
        _ => 0,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of `map_err`")]
fn text(error: FusedError) -> String {
    error.to_string()
}

/// Returns the batch sizes that are recorded for batches of up to `most` images.
///
/// Size 1 comes first, then the others from the largest, which decides how much memory is reserved, to the smallest.
pub(crate) fn batch_sizes(most: usize) -> Vec<usize> {
    let most = filled_up(most.max(1), LARGEST);
    let mut sizes: Vec<usize> = (0..).map(|power| 1 << power).take_while(|size| *size < most).collect();
    sizes.push(most);
    sizes[1..].reverse();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_sizes_are_rounded_up_to_a_few() {
        assert_eq!(
            [1, 2, 3, 5, 64, 100, 128].map(|images| filled_up(images, 128)),
            [1, 2, 4, 8, 64, 128, 128]
        );
        assert_eq!([3, 17, 24].map(|images| filled_up(images, 24)), [4, 24, 24]);
        assert_eq!(batch_sizes(1), [1]);
        assert_eq!(batch_sizes(24), [1, 32, 16, 8, 4, 2]);
        assert_eq!(batch_sizes(1000), [1, 128, 64, 32, 16, 8, 4, 2]);
    }
}
