//! Flat parameter buffers: a network's tensors as views of one long tensor. An update rule of the optimizer is then a
//! few operations on long tensors rather than a few per tensor of hundreds, which on a GPU makes the difference in
//! speed.

use tch::{Device, Kind, Tensor};

/// Named tensors of a network, stored one after the other in the flat tensor `flat`.
#[derive(Debug)]
pub(super) struct FlatParameters {
    names: Vec<String>,
    tensors: Vec<Tensor>,
    /// All values of the tensors, one-dimensional in fp32.
    pub(super) flat: Tensor,
}

impl FlatParameters {
    /// Copies the values of the tensors into one flat tensor and makes the tensors views of it. Other handles of the
    /// same tensors see the views too.
    pub(super) fn new(named: Vec<(String, Tensor)>, device: Device) -> Self {
        let (names, mut tensors): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let flat = gathered(&tensors, device);
        let mut from = 0;
        for tensor in &mut tensors {
            let length = tensor.numel() as i64;
            let view = as_kernel(&flat.narrow(0, from, length), &tensor.size());
            tensor.set_data(&view);
            from += length;
        }
        Self { names, tensors, flat }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Concatenates one gradient per tensor in the order of `flat`, with zeros for tensors without a gradient.
    pub(super) fn gather(&self, gradients: &[Tensor]) -> Tensor {
        let there: Vec<Tensor> = gradients
            .iter()
            .zip(&self.tensors)
            .map(|(gradient, tensor)| match gradient.defined() {
                true => gradient.shallow_clone(),
                false => tensor.zeros_like(),
            })
            .collect();
        gathered(&there, self.flat.device())
    }

    /// Returns views of another flat tensor with the layout of `flat`, by tensor name.
    pub(super) fn views<'a>(&'a self, flat: &'a Tensor) -> impl Iterator<Item = (String, Tensor)> + 'a {
        let mut from = 0;
        self.names.iter().zip(&self.tensors).map(move |(name, tensor)| {
            let length = tensor.numel() as i64;
            let view = as_kernel(&flat.narrow(0, from, length), &tensor.size());
            from += length;
            (name.clone(), view)
        })
    }
}

/// Views a part of a flat tensor as `size`. Convolution weights are stored in channels-last order, which suits the
/// convolution kernels.
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
