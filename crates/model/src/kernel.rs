//! The kernels that compute a prepared convolution on its device.

use std::{
    cell::{Cell, OnceCell},
    fmt,
};

use lookout_fused::{FusedError, Geometry, PackedWeight, Then};
use tch::{Device, Kind, Tensor};

use crate::{
    conv::{Activation, ConvShape},
    target::Target,
};

/// Tensor cores process channels in groups of eight.
const CHANNELS_DIVIDE_BY: i64 = 8;

/// The stem that all networks here share. On a GPU it has a second input layout; see [`block_weight`].
const STEM: ConvShape = ConvShape::same(3, 64, 7, 2);

/// Number of channels of an input in blocks of 2x2 pixels.
pub(crate) const BLOCK_CHANNELS: i64 = 16;

/// A convolution with its bias and activation, for inference.
#[derive(Debug)]
pub(crate) struct Kernel {
    shape: ConvShape,
    act: Activation,
    /// `None` if another layer adds this bias.
    bias: Option<Tensor>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// libtorch's own operators, one after the other.
    Plain(Tensor),
    /// oneDNN: one pass over memory.
    OneDnn(OneDnnWeight),
    /// cuDNN: one kernel. The stem has a second weight, for an input in blocks.
    Cudnn { weight: Tensor, blocks: Option<Tensor> },
    /// A 1x1 convolution as a matrix product of cuBLAS, which adds the bias in the same kernel. The weight is `[C, K]`.
    Product(Tensor),
}

/// A weight that is packed for oneDNN at the first input, whose size decides the layout.
struct OneDnnWeight {
    /// `None` after the first input.
    unpacked: Cell<Option<Tensor>>,
    used: OnceCell<UsedWeight>,
}

#[derive(Debug)]
enum UsedWeight {
    Packed(PackedWeight),
    /// oneDNN does not support the convolution.
    Plain(Tensor),
}

impl Kernel {
    /// Creates the kernel for `target` from `weight` `[K, C/groups, kh, kw]` and `bias` `[K]`, both in fp32 on the CPU.
    pub(crate) fn new(
        weight: &Tensor,
        bias: &Tensor,
        shape: ConvShape,
        act: Activation,
        target: Target,
    ) -> Self {
        let convert = |tensor: &Tensor| tensor.to_device(target.device).to_kind(target.precision.kind());
        let on_tensor_cores = target.on_tensor_cores();
        // More channels would change the groups.
        let is_padded = on_tensor_cores && shape.groups == 1;
        let missing = if is_padded { (-shape.out_channels).rem_euclid(CHANNELS_DIVIDE_BY) } else { 0 };
        let padded = |tensor: &Tensor, padding: &[i64]| {
            if missing == 0 { tensor.shallow_clone() } else { tensor.constant_pad_nd(padding) }
        };
        let (weight, bias) =
            (padded(weight, &[0, 0, 0, 0, 0, 0, 0, missing]), convert(&padded(bias, &[0, missing])));
        let is_stem = on_tensor_cores && shape == STEM && act == Activation::Relu;
        let blocks = is_stem.then(|| channels_last(&convert(&block_weight(&weight))));
        let weight = channels_last(&convert(&weight));
        let way = match target.device {
            Device::Cpu if lookout_fused::available() => Way::OneDnn(OneDnnWeight::new(weight)),
            Device::Cuda(_) if act == Activation::Relu => Way::Cudnn { weight, blocks },
            Device::Cuda(_) if on_tensor_cores && is_product(shape) => {
                Way::Product(weight.flatten(1, -1).transpose(0, 1))
            }
            _ => Way::Plain(weight),
        };
        Self { shape, act, bias: Some(bias), way }
    }

    /// Removes and returns the bias if the device computes the convolution faster without one. The caller must add it
    /// elsewhere.
    pub(crate) fn take_bias(&mut self) -> Option<Tensor> {
        match self.way {
            Way::Plain(_) => self.bias.take(),
            _ => None,
        }
    }

    /// Adds `more` to the bias.
    pub(crate) fn add_bias(&mut self, more: &Tensor) {
        self.bias = Some(match &self.bias {
            Some(bias) => bias + more,
            None => more.shallow_clone(),
        });
    }

    pub(crate) fn conv(&self, x: &Tensor) -> Tensor {
        let y = match &self.way {
            Way::OneDnn(weight) => match weight.get(x, self.shape) {
                UsedWeight::Packed(weight) => refused(weight.conv(x, self.bias.as_ref(), self.then())),
                UsedWeight::Plain(weight) => self.activate(self.plain(weight, x)),
            },
            Way::Cudnn { blocks: Some(weight), .. } if x.size().get(1) == Some(&BLOCK_CHANNELS) => {
                x.cudnn_convolution_relu(weight, self.bias.as_ref(), [1, 1], [0, 0], [1, 1], 1)
            }
            Way::Cudnn { weight, .. } => self.cudnn(weight, x, None),
            Way::Product(weight) => self.product(weight, x),
            Way::Plain(weight) => self.activate(self.plain(weight, x)),
        };
        self.without_padding(y)
    }

    pub(crate) fn conv_add(&self, x: &Tensor, sum: Tensor) -> Tensor {
        let plain =
            |weight: &Tensor, sum: Tensor| self.activate(self.without_padding(self.plain(weight, x)) + sum);
        match &self.way {
            Way::OneDnn(weight) => match weight.get(x, self.shape) {
                UsedWeight::Packed(weight) => {
                    refused(weight.conv_add(sum, x, self.bias.as_ref(), self.then()))
                }
                UsedWeight::Plain(weight) => plain(weight, sum),
            },
            Way::Cudnn { weight, .. } => self.cudnn(weight, x, Some(&sum)),
            Way::Product(weight) => self.without_padding(self.product(weight, x)) + sum,
            Way::Plain(weight) => plain(weight, sum),
        }
    }

    /// Removes the output channels that only pad the number of channels to a multiple of eight.
    fn without_padding(&self, y: Tensor) -> Tensor {
        if y.size().get(1) == Some(&self.shape.out_channels) {
            y
        } else {
            y.narrow(1, 0, self.shape.out_channels)
        }
    }

    fn product(&self, weight: &Tensor, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().unwrap_or((0, self.shape.in_channels, 0, 0));
        let x = x.permute([0, 2, 3, 1]).reshape([n * h * w, c]);
        let y = match &self.bias {
            Some(bias) => bias.addmm(&x, weight),
            None => x.mm(weight),
        };
        y.view([n, h, w, -1]).permute([0, 3, 1, 2])
    }

    fn plain(&self, weight: &Tensor, x: &Tensor) -> Tensor {
        let ConvShape { stride, padding, groups, .. } = self.shape;
        x.conv2d(weight, self.bias.as_ref(), [stride; 2], [padding; 2], [1, 1], groups)
    }

    /// Runs the cuDNN kernel, or libtorch's own operators if cuDNN returns an error: it does not support every dtype
    /// and memory layout on every GPU.
    fn cudnn(&self, weight: &Tensor, x: &Tensor, sum: Option<&Tensor>) -> Tensor {
        let ConvShape { stride, padding, groups, .. } = self.shape;
        let (stride, padding, bias) = ([stride; 2], [padding; 2], self.bias.as_ref());
        let fused = match sum {
            None => x.f_cudnn_convolution_relu(weight, bias, stride, padding, [1, 1], groups),
            Some(sum) => {
                x.f_cudnn_convolution_add_relu(weight, sum, 1.0, bias, stride, padding, [1, 1], groups)
            }
        };
        fused.unwrap_or_else(|_| {
            let y = self.plain(weight, x);
            self.activate(match sum {
                None => y,
                Some(sum) => y + sum,
            })
        })
    }

    fn activate(&self, mut x: Tensor) -> Tensor {
        match self.act {
            Activation::None => x,
            Activation::Relu => x.relu_(),
        }
    }

    fn then(&self) -> Then {
        match self.act {
            Activation::None => Then::Nothing,
            Activation::Relu => Then::Relu,
        }
    }
}

/// A clone shares the weights, so that each thread can have its own kernel.
impl Clone for Kernel {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::Plain(weight) => Way::Plain(weight.shallow_clone()),
            Way::OneDnn(weight) => Way::OneDnn(weight.shallow_clone()),
            Way::Cudnn { weight, blocks } => Way::Cudnn {
                weight: weight.shallow_clone(),
                blocks: blocks.as_ref().map(Tensor::shallow_clone),
            },
            Way::Product(weight) => Way::Product(weight.shallow_clone()),
        };
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { shape: self.shape, act: self.act, bias, way }
    }
}

impl fmt::Debug for OneDnnWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneDnnWeight").field("used", &self.used).finish_non_exhaustive()
    }
}

impl OneDnnWeight {
    fn new(weight: Tensor) -> Self {
        Self { unpacked: Cell::new(Some(weight)), used: OnceCell::new() }
    }

    /// Returns the weight of a convolution of `shape`. Packs it if `x` `[N, C, H, W]` is the first input.
    fn get(&self, x: &Tensor, shape: ConvShape) -> &UsedWeight {
        self.used.get_or_init(|| {
            // `unpacked` is taken only here, and this closure runs only once.
            let Some(weight) = self.unpacked.take() else { unreachable!("the weight was packed before") };
            let ConvShape { stride, padding, groups, .. } = shape;
            let geometry = Geometry { stride: [stride; 2], padding: [padding; 2], dilation: [1, 1], groups };
            let (n, c, h, w) = x.size4().unwrap_or((1, shape.in_channels, 1, 1));
            match PackedWeight::new(&weight, geometry, [n, c, h, w]) {
                Ok(packed) => UsedWeight::Packed(packed),
                Err(error) => {
                    tracing::warn!(%error, "fused convolution unavailable, using the generic kernel");
                    UsedWeight::Plain(weight)
                }
            }
        })
    }

    fn shallow_clone(&self) -> Self {
        let unpacked = self.unpacked.take();
        let clone = unpacked.as_ref().map(Tensor::shallow_clone);
        self.unpacked.set(unpacked);
        let used = OnceCell::new();
        if let Some(weight) = self.used.get() {
            // The new cell is empty, so that this cannot fail.
            let _ = used.set(match weight {
                UsedWeight::Packed(weight) => UsedWeight::Packed(weight.shallow_clone()),
                UsedWeight::Plain(weight) => UsedWeight::Plain(weight.shallow_clone()),
            });
        }
        Self { unpacked: Cell::new(clone), used }
    }
}

/// Returns whether a convolution is a matrix product.
fn is_product(shape: ConvShape) -> bool {
    shape.kernel == 1 && shape.stride == 1 && shape.groups == 1
}

/// Panics if libtorch returned an error, as `tch`'s own operators do. The code that runs the network catches the panic.
fn refused(result: Result<Tensor, FusedError>) -> Tensor {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Converts `[N, C, H, W]` to the channels-last memory format, which the fast kernels of CPUs and GPUs use.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Returns the weight `[K, 16, 4, 4]` of the convolution on 2x2 blocks that equals the 7x7 convolution on pixels.
///
/// `weight` `[K, 3, 7, 7]` is applied with stride 2 to pixels; the result is applied with stride 1 to blocks of 2x2
/// pixels, which have 12 channels and 4 channels of zeros. The GPU's tensor cores compute it three times as fast,
/// because an input with three channels leaves most of them idle.
fn block_weight(weight: &Tensor) -> Tensor {
    let k = weight.size()[0];
    // Pad by one row above and one column to the left, which aligns the stride with the blocks.
    let weight = weight.to_kind(Kind::Float).constant_pad_nd([1, 0, 1, 0]); // [K, 3, 8, 8]
    let weight = weight.view([k, 3, 4, 2, 4, 2]).permute([0, 3, 5, 1, 2, 4]).reshape([k, 12, 4, 4]);
    weight.constant_pad_nd([0, 0, 0, 0, 0, BLOCK_CHANNELS - 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rearranges pixels into blocks as the GPU's `normalize_blocks` does.
    fn blocks(x: &Tensor) -> Tensor {
        let [n, _, h, w] = x.size()[..] else { panic!("[N, 3, H, W]") };
        let blocks = x.view([n, 3, h / 2, 2, w / 2, 2]).permute([0, 3, 5, 1, 2, 4]);
        let blocks = blocks.reshape([n, 12, h / 2, w / 2]);
        blocks.constant_pad_nd([2, 1, 2, 1, 0, BLOCK_CHANNELS - 12])
    }

    #[test]
    fn space_to_depth_stem_equals_the_original_stem() {
        tch::manual_seed(3);
        let options = (Kind::Float, Device::Cpu);
        let (x, weight) = (Tensor::randn([2, 3, 64, 96], options), Tensor::randn([64, 3, 7, 7], options));
        let none = None::<Tensor>;
        let on_pixels = x.conv2d(&weight, none.as_ref(), [2, 2], [3, 3], [1, 1], 1);
        let on_blocks = blocks(&x).conv2d(&block_weight(&weight), none.as_ref(), [1, 1], [0, 0], [1, 1], 1);
        assert_eq!(on_blocks.size(), on_pixels.size());
        assert!((on_blocks - on_pixels).abs().max().double_value(&[]) < 1e-3);
    }
}
