//! How a prepared convolution is computed on its device.

use lookout_fused::{FusedError, Geometry, PackedWeight, Then};
use tch::{Device, Tensor};

use crate::{
    layer::{Activation, ConvShape},
    target::Target,
};

/// A convolution with its bias and activation, for inference.
#[derive(Debug)]
pub(crate) struct Kernel {
    shape: ConvShape,
    act: Activation,
    bias: Tensor,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// libtorch's own operators, one after the other.
    Plain(Tensor),
    /// To be laid out for oneDNN at the first input, whose size decides the layout.
    ToPack(Tensor),
    /// oneDNN: one pass over memory.
    Packed(PackedWeight),
    /// cuDNN: one kernel.
    Cudnn(Tensor),
}

impl Kernel {
    /// `weight` `[K, C, kh, kw]` and `bias` `[K]` in fp32 on the CPU.
    pub(crate) fn new(
        weight: &Tensor,
        bias: &Tensor,
        shape: ConvShape,
        act: Activation,
        target: Target,
    ) -> Self {
        let convert = |tensor: &Tensor| tensor.to_device(target.device).to_kind(target.precision.kind());
        let (weight, bias) = (channels_last(&convert(weight)), convert(bias));
        let way = match target.device {
            Device::Cpu if lookout_fused::available() => Way::ToPack(weight),
            Device::Cuda(_) if act == Activation::Relu => Way::Cudnn(weight),
            _ => Way::Plain(weight),
        };
        Self { shape, act, bias, way }
    }

    /// Returns a kernel on the same weights, for another thread.
    pub(crate) fn shallow_clone(&self) -> Self {
        let way = match &self.way {
            Way::Plain(weight) => Way::Plain(weight.shallow_clone()),
            Way::ToPack(weight) => Way::ToPack(weight.shallow_clone()),
            Way::Packed(weight) => Way::Packed(weight.shallow_clone()),
            Way::Cudnn(weight) => Way::Cudnn(weight.shallow_clone()),
        };
        Self { shape: self.shape, act: self.act, bias: self.bias.shallow_clone(), way }
    }

    pub(crate) fn conv(&mut self, x: &Tensor) -> Tensor {
        self.pack(x);
        match &self.way {
            Way::Packed(weight) => refused(weight.conv(x, Some(&self.bias), self.then())),
            Way::Cudnn(weight) => self.cudnn(weight, x, None),
            Way::Plain(weight) | Way::ToPack(weight) => self.activate(self.plain(weight, x)),
        }
    }

    pub(crate) fn conv_add(&mut self, x: &Tensor, sum: Tensor) -> Tensor {
        self.pack(x);
        match &self.way {
            Way::Packed(weight) => refused(weight.conv_add(sum, x, Some(&self.bias), self.then())),
            Way::Cudnn(weight) => self.cudnn(weight, x, Some(&sum)),
            Way::Plain(weight) | Way::ToPack(weight) => self.activate(self.plain(weight, x) + sum),
        }
    }

    fn pack(&mut self, x: &Tensor) {
        let Way::ToPack(weight) = &self.way else { return };
        let ConvShape { stride, padding, .. } = self.shape;
        let geometry = Geometry { stride: [stride; 2], padding: [padding; 2], dilation: [1, 1], groups: 1 };
        let (n, c, h, w) = x.size4().unwrap_or((1, self.shape.inputs, 1, 1));
        self.way = match PackedWeight::new(weight, geometry, [n, c, h, w]) {
            Ok(packed) => Way::Packed(packed),
            Err(error) => {
                tracing::warn!(%error, "a convolution goes the slow way");
                Way::Plain(weight.shallow_clone())
            }
        };
    }

    fn plain(&self, weight: &Tensor, x: &Tensor) -> Tensor {
        let ConvShape { stride, padding, .. } = self.shape;
        x.conv2d(weight, Some(&self.bias), [stride; 2], [padding; 2], [1, 1], 1)
    }

    /// cuDNN refuses some types and layouts on some GPUs; libtorch's own operators take them all.
    fn cudnn(&self, weight: &Tensor, x: &Tensor, sum: Option<&Tensor>) -> Tensor {
        let ConvShape { stride, padding, .. } = self.shape;
        let (stride, padding, bias) = ([stride; 2], [padding; 2], Some(&self.bias));
        let fused = match sum {
            None => x.f_cudnn_convolution_relu(weight, bias, stride, padding, [1, 1], 1),
            Some(sum) => x.f_cudnn_convolution_add_relu(weight, sum, 1.0, bias, stride, padding, [1, 1], 1),
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

/// Panics where libtorch refused, as `tch`'s own operators do; whoever runs a network catches it there.
fn refused(result: Result<Tensor, FusedError>) -> Tensor {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The same `[N, C, H, W]` numbers with the channels next to each other in memory, which is how the fast
/// kernels of CPUs and GPUs read and write.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
