//! A network with its parameters.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tch::{Device, Kind, Tensor, nn};

use crate::{
    ModelError,
    kernel::channels_last,
    random,
    resnet::ResNet,
    target::Target,
    weights::{self, StateDict},
};

/// The classes of ImageNet-1k.
pub(crate) const IMAGENET_CLASSES: i64 = 1000;

/// A network on the CPU, ready for training or for a state dict.
#[derive(Debug)]
pub struct Network {
    parameters: nn::VarStore,
    net: ResNet,
}

impl Network {
    /// A network of `arch` with `classes` outputs; its parameters mean nothing yet.
    pub fn new(arch: &str, classes: i64) -> Result<Self, ModelError> {
        let parameters = nn::VarStore::new(Device::Cpu);
        let net = ResNet::new(&parameters.root(), arch, classes)
            .ok_or_else(|| ModelError::UnknownArch { arch: arch.to_owned() })?;
        Ok(Self { parameters, net })
    }

    /// Its parameters and running statistics by torchvision's names.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.parameters.variables().into_iter().collect()
    }

    /// Takes a state dict, all of it.
    pub fn load(&mut self, state: StateDict) -> Result<(), ModelError> {
        Ok(weights::apply(&self.tensors(), state)?)
    }

    /// Takes weights made of `seed`, which mean nothing.
    pub fn fill(&mut self, seed: u64) {
        random::fill(&self.tensors(), seed);
    }

    /// `x` `[N, 3, H, W]`, normalised, to logits `[N, classes]`, differentiable. `train` has the norms take
    /// the batch's own statistics.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.net.forward(x, train)
    }

    /// Makes the network ready for inference on `target`, for good.
    pub fn prepare(self, target: Target) -> PreparedNetwork {
        let Self { parameters, mut net } = self;
        tch::no_grad(|| net.prepare(target));
        // What training needs is in memory no longer.
        drop(parameters);
        PreparedNetwork { net, target }
    }
}

/// What libtorch said, without the list of its own functions behind it.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked");
    text.split("Exception raised from").next().unwrap_or(text).trim().to_owned()
}

/// A network for inference, on its device and in its precision.
#[derive(Debug)]
pub struct PreparedNetwork {
    net: ResNet,
    target: Target,
}

impl PreparedNetwork {
    pub fn target(&self) -> Target {
        self.target
    }

    /// `x` `[N, 3, H, W]`, normalised, of any type and on any device, to logits `[N, classes]` in fp32 on
    /// the CPU.
    ///
    /// # Panics
    /// Where libtorch refuses, as `tch`'s operators do: no memory, a picture smaller than the network.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let x = x.to_device(self.target.device).to_kind(self.target.precision.kind());
            let logits = self.net.forward(&channels_last(&x), false);
            logits.to_kind(Kind::Float).to_device(Device::Cpu)
        })
    }

    /// As [`PreparedNetwork::forward`], with what libtorch refuses as an error.
    pub fn try_forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        catch_unwind(AssertUnwindSafe(|| self.forward(x)))
            .map_err(|panic| ModelError::Network { reason: message(panic.as_ref()) })
    }
}
