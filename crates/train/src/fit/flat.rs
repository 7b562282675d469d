//! A network's tensors side by side in one, so that an optimizer's rule is a few operations on long tensors
//! rather than a few for each of hundreds: on a GPU that is the difference.

use tch::{Device, Kind, Tensor};

/// Some tensors of a network, by name; their numbers are in `whole`.
#[derive(Debug)]
pub(super) struct Flat {
    names: Vec<String>,
    tensors: Vec<Tensor>,
    /// `[all their numbers]` in fp32.
    pub(super) whole: Tensor,
}

impl Flat {
    /// Moves the tensors' numbers into one; they are views of it from now on, wherever else they are held.
    pub(super) fn new(named: Vec<(String, Tensor)>, device: Device) -> Self {
        let (names, mut tensors): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let whole = gathered(&tensors, device);
        let mut from = 0;
        for tensor in &mut tensors {
            let length = tensor.numel() as i64;
            let view = as_kernel(&whole.narrow(0, from, length), &tensor.size());
            tensor.set_data(&view);
            from += length;
        }
        Self { names, tensors, whole }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// One number for each of these tensors, in the order of `whole`; zero for what has none.
    pub(super) fn gather(&self, gradients: &[Tensor]) -> Tensor {
        let there: Vec<Tensor> = gradients
            .iter()
            .zip(&self.tensors)
            .map(|(gradient, tensor)| match gradient.defined() {
                true => gradient.shallow_clone(),
                false => tensor.zeros_like(),
            })
            .collect();
        gathered(&there, self.whole.device())
    }

    /// Tensors of another `whole`, by name.
    pub(super) fn views<'a>(&'a self, whole: &'a Tensor) -> impl Iterator<Item = (String, Tensor)> + 'a {
        let mut from = 0;
        self.names.iter().zip(&self.tensors).map(move |(name, tensor)| {
            let length = tensor.numel() as i64;
            let view = as_kernel(&whole.narrow(0, from, length), &tensor.size());
            from += length;
            (name.clone(), view)
        })
    }
}

/// A part of a flat tensor as `size`; a convolution's weight with the channels last, as its kernels like it.
fn as_kernel(part: &Tensor, size: &[i64]) -> Tensor {
    match *size {
        [outputs, inputs, height, width] => part.view([outputs, height, width, inputs]).permute([0, 3, 1, 2]),
        _ => part.view(size),
    }
}

fn gathered(tensors: &[Tensor], device: Device) -> Tensor {
    let row = |tensor: &Tensor| {
        let tensor = tensor.detach();
        let last = if tensor.dim() == 4 { tensor.permute([0, 2, 3, 1]) } else { tensor };
        last.reshape([-1])
    };
    let rows: Vec<Tensor> = tensors.iter().map(row).collect();
    if rows.is_empty() { Tensor::empty([0], (Kind::Float, device)) } else { Tensor::cat(&rows, 0) }
}
