//! A network at work on a GPU: each batch size is recorded once as a CUDA graph, from the images' bytes to what is
//! found in them, and then replayed.
//!
//! A forward pass has some 160 kernels, which the host launches more slowly than the GPU runs them. A graph launches them
//! all at once. A batch of another size is padded to the next larger size that is recorded. Each of a device's streams
//! has its own graphs, CUDA stream and pinned buffers, so that the upload and the host's work of one stream overlap with
//! the kernels of another.

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
    network::caught,
    target::Target,
};

/// Images in a batch at most; larger ones are looked at in parts.
const LARGEST: usize = 128;

/// Passes before one is recorded: the first has cuDNN choose its algorithms.
const PASSES_BEFORE: usize = 2;

/// The output of a network for a batch, in fp32 on its device: a row of numbers for each image; and the tensors that the
/// recorded work reads and nothing else holds.
pub(crate) type Output = (Tensor, Vec<Tensor>);

/// A network's graphs on one stream of a GPU. A clone has a stream and graphs of its own.
pub(crate) struct Graphs {
    target: Target,
    /// Made by the thread that first needs it.
    slot: Option<Slot>,
    recorded: Vec<Recorded>,
    /// Images in a batch at most: fewer where the GPU's memory has not been enough for more.
    largest: usize,
    /// Parts of the last batch.
    passes: usize,
    /// Whether a batch size is recorded even where a larger one could be filled up.
    exact: bool,
}

/// A batch size of one image size.
struct Recorded {
    images: usize,
    size: Size,
    graph: Graph,
    /// `[images, H, W, 3]`: pinned, and on the device.
    staged: Tensor,
    bytes: Tensor,
    /// `[images, numbers]`: on the device, and pinned.
    output: Tensor,
    output_host: Tensor,
    /// What the graph reads.
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
    /// For a network on `target`; none where that is no GPU.
    pub(crate) fn on(target: Target) -> Option<Self> {
        target.is_gpu().then_some(Self {
            target,
            slot: None,
            recorded: Vec::new(),
            largest: LARGEST,
            passes: 0,
            exact: false,
        })
    }

    /// Says whether the next batches have their sizes recorded, also where larger ones could be filled up.
    pub(crate) fn record_exactly(&mut self, exact: bool) {
        self.exact = exact;
    }

    /// In how many parts the last batch was looked at, since the memory was not enough for all of it.
    pub(crate) fn passes(&self) -> usize {
        if self.largest < LARGEST { self.passes } else { self.passes.min(1) }
    }

    /// Returns a row of the output of `forward` for each of `images`, which all have one size; `forward` takes a
    /// normalized input whose sides are filled up to multiples of `multiple`.
    ///
    /// # Errors
    /// No memory for one image alone; the network failed.
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
        // libtorch's text goes on with advice and a stack trace.
        let reason = reason.lines().next().unwrap_or_default().split(". ").next().unwrap_or_default();
        tracing::warn!(
            images,
            most,
            reason,
            "the GPU's memory is not enough for a batch; later ones are smaller"
        );
        // The memory of graphs is a pool of the stream's, which cannot be used again once a recording failed.
        self.recorded.clear();
        self.slot = None;
        cuda::release_unused_memory();
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
                let recorded = slot.run(|slot| record(slot, self.target, (count, size), &whole))?;
                self.recorded.push(recorded);
                self.recorded.len() - 1
            }
        };
        let recorded = self.recorded.get_mut(index).ok_or("a graph was lost")?;
        slot.run(|slot| recorded.replay(slot, images)).map_err(text)
    }
}

/// Records what `forward` does with the bytes `[images, H, W, 3]`.
fn record(
    slot: &mut Slot,
    target: Target,
    (images, size): (usize, Size),
    forward: &dyn Fn(&Tensor) -> Output,
) -> Result<Recorded, String> {
    let shape = [images as i64, i64::from(size.height), i64::from(size.width), 3];
    let pinned = |shape: &[i64], kind| {
        let count = shape.iter().product();
        cuda::pinned(count, kind).map(|memory| memory.view(shape)).map_err(text)
    };
    let staged = pinned(&shape, Kind::Uint8)?;
    // The weights may be on their way still, on a stream that this one does not wait for.
    target.wait();
    let (graph, bytes, (output, alive)) = caught(|| {
        let bytes = Tensor::zeros(shape, (Kind::Uint8, target.device));
        for _ in 0..PASSES_BEFORE {
            drop(tch::no_grad(|| forward(&bytes)));
            slot.wait().map_err(text)?;
        }
        // A recording has memory of its own, and cannot make libtorch give back what these passes had.
        cuda::release_unused_memory();
        let (graph, output) = slot.capture(|| tch::no_grad(|| forward(&bytes))).map_err(text)?;
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

/// The size of the graph for `images`.
fn filled_up(images: usize, largest: usize) -> usize {
    images.next_power_of_two().min(largest)
}

/// Whether CUDA or cuDNN says so; of cuDNN it means that no algorithm's memory is to be had.
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

/// The sizes that a batch of up to `most` images can come to, the first one first: of one image, then the largest, which
/// decides how much memory is kept.
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
    fn batches_come_in_few_sizes() {
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
