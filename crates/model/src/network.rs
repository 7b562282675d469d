//! A network with its parameters.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use lookout_fused::cuda::LevelReading;
use tch::{Device, Kind, Tensor, nn};

use crate::{
    ModelError,
    arch::Arch,
    detection::{
        DetectionSettings, Detections, DetectorNet, DetectorOutputs, Pick, Pictures, ProposalSettings,
        device_reading, modernize,
    },
    kernel::channels_last,
    random,
    resnet::ResNet,
    target::Target,
    torchscript::PreparedScript,
    weights::{self, StateDict},
};

/// The classes of ImageNet-1k.
pub(crate) const IMAGENET_CLASSES: i64 = 1000;

/// A network on the CPU, ready for training or for a state dict.
#[derive(Debug)]
pub struct Network {
    parameters: nn::VarStore,
    net: Net,
}

#[derive(Debug)]
enum Net {
    Classifier(Box<ResNet>),
    Detector(DetectorNet),
}

/// What a network says, before anything is read into it.
#[derive(Debug)]
pub enum Outputs {
    /// `[N, classes]`
    Logits(Tensor),
    Detector(DetectorOutputs),
}

impl Network {
    /// A network of `arch` with `classes` outputs, of a detector the background among them; its parameters
    /// mean nothing yet.
    pub fn new(arch: &str, classes: i64) -> Result<Self, ModelError> {
        let arch = Arch::named(arch)?;
        let parameters = nn::VarStore::new(Device::Cpu);
        let path = parameters.root();
        let net = match arch {
            Arch::Classifier(kind) => Net::Classifier(Box::new(ResNet::new(&path, kind, classes))),
            Arch::Detector(kind) => Net::Detector(DetectorNet::new(&path, kind, classes)),
        };
        Ok(Self { parameters, net })
    }

    /// The tensors of a network of `arch` in a state dict that may hold them under a prefix, or beside another
    /// network's, and the prefix.
    ///
    /// # Errors
    /// Several such networks in it.
    pub fn found_in(arch: &str, state: StateDict) -> Result<(StateDict, Option<String>), ModelError> {
        Ok(weights::taken(state, Arch::named(arch)?.anchors())?)
    }

    /// The network of `arch` with all of `state`, which decides how many classes it has.
    pub fn from_state(arch: &str, state: StateDict) -> Result<Self, ModelError> {
        let arch = Arch::named(arch)?;
        let parameters = nn::VarStore::new(Device::Cpu);
        let path = parameters.root();
        let net = match arch {
            Arch::Classifier(kind) => {
                let bias = state.tensors.get("fc.bias").map(Tensor::size);
                let classes = match bias.as_deref() {
                    Some([classes]) => *classes,
                    // What is missing or misshapen is told with all the rest.
                    _ => IMAGENET_CLASSES,
                };
                Net::Classifier(Box::new(ResNet::new(&path, kind, classes)))
            }
            Arch::Detector(kind) => Net::Detector(DetectorNet::for_state(&path, kind, &state)),
        };
        let mut network = Self { parameters, net };
        network.load(state)?;
        Ok(network)
    }

    /// A network of `arch` with as many classes as torchvision's, its weights made of `seed`.
    pub fn from_seed(arch: &str, seed: u64) -> Result<Self, ModelError> {
        let mut network = Self::new(arch, Arch::named(arch)?.usual_classes())?;
        network.fill(seed);
        Ok(network)
    }

    /// Its parameters and running statistics by torchvision's names.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.parameters.variables().into_iter().collect()
    }

    /// Takes a state dict, all of it.
    pub fn load(&mut self, mut state: StateDict) -> Result<(), ModelError> {
        if let Net::Detector(net) = &self.net {
            modernize(net.kind(), &mut state);
        }
        Ok(weights::apply(&self.tensors(), state)?)
    }

    /// Takes the stages of a classifier's state dict into a detector's backbone, before it is trained
    /// (torchvision's `weights_backbone`); the classifier's own last layer is left out, and the rest of the
    /// detector stays as it is. The state dict has to be of a ResNet-50.
    ///
    /// # Errors
    /// The network is no detector, or what does not fit by the name that it would have in the detector.
    pub fn load_backbone(&mut self, state: StateDict) -> Result<(), ModelError> {
        const BODY: &str = "backbone.body.";
        let mut body = self.tensors();
        body.retain(|name, _| name.starts_with(BODY));
        if body.is_empty() {
            return Err(ModelError::NoBackbone);
        }
        let StateDict { tensors, digest } = state;
        let stages = tensors.into_iter().filter(|(name, _)| !name.starts_with("fc."));
        let tensors = stages.map(|(name, tensor)| (format!("{BODY}{name}"), tensor)).collect();
        Ok(weights::apply(&body, StateDict { tensors, digest })?)
    }

    /// Takes weights made of `seed`, which mean nothing.
    pub fn fill(&mut self, seed: u64) {
        random::fill(&self.tensors(), seed);
    }

    /// Moves it to a device, where its tensors stay in fp32.
    pub fn move_to(&mut self, device: Device) {
        self.parameters.set_device(device);
    }

    /// `x` `[N, 3, H, W]`, normalized, to what the network says of it in training, differentiable: norms
    /// take the batch's own statistics where their weights are trained. The network computes in the numbers
    /// of `x`, whatever its own are; `pick` says which proposals Faster R-CNN's second stage looks at.
    ///
    /// # Panics
    /// Where libtorch refuses, as `tch`'s operators do: no memory, a picture smaller than the network.
    pub fn forward(&self, x: &Tensor, pick: &mut Pick<'_>) -> Outputs {
        match &self.net {
            Net::Classifier(net) => Outputs::Logits(net.forward(x, true)),
            Net::Detector(net) => {
                Outputs::Detector(net.forward(Pictures::whole(x), &ProposalSettings::TRAINING, Some(pick)))
            }
        }
    }

    /// Makes the network ready for inference on `target`, for good.
    pub fn prepare(self, target: Target) -> PreparedNetwork {
        let Self { parameters, net } = self;
        let prepared = tch::no_grad(|| match net {
            Net::Classifier(mut net) => {
                net.prepare(target);
                PreparedNetwork::Classifier(PreparedClassifier { net, target })
            }
            Net::Detector(mut net) => {
                net.prepare(target);
                let settings = net.kind().settings();
                PreparedNetwork::Detector(PreparedDetector { net, target, settings })
            }
        });
        // What training needs is in memory no longer.
        drop(parameters);
        prepared
    }
}

/// What libtorch said, without the list of its own functions behind it.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked");
    without_trace(text).to_owned()
}

/// An error of libtorch without the list of its own functions.
pub(crate) fn without_trace(text: &str) -> &str {
    text.split("Exception raised from").next().unwrap_or(text).trim()
}

/// Does what may make `tch`'s operators panic, which they do where libtorch refuses: no memory, a picture
/// smaller than the network. The parameters are only read, so that a network is as good as before.
///
/// # Errors
/// What libtorch said.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
}

/// A network for inference, on its device and in its precision.
#[derive(Debug)]
pub enum PreparedNetwork {
    Classifier(PreparedClassifier),
    Detector(PreparedDetector),
    Script(PreparedScript),
}

impl PreparedNetwork {
    pub fn target(&self) -> Target {
        match self {
            Self::Classifier(network) => network.target(),
            Self::Detector(network) => network.target(),
            Self::Script(network) => network.target(),
        }
    }

    pub fn into_classifier(self) -> Option<PreparedClassifier> {
        match self {
            Self::Classifier(network) => Some(network),
            Self::Detector(_) | Self::Script(_) => None,
        }
    }

    pub fn into_detector(self) -> Option<PreparedDetector> {
        match self {
            Self::Classifier(_) | Self::Script(_) => None,
            Self::Detector(network) => Some(network),
        }
    }
}

/// A classifier for inference. A clone shares its tensors, for another thread.
#[derive(Debug, Clone)]
pub struct PreparedClassifier {
    net: Box<ResNet>,
    target: Target,
}

impl PreparedClassifier {
    pub fn target(&self) -> Target {
        self.target
    }

    pub fn classes(&self) -> usize {
        self.net.classes()
    }

    /// `x` `[N, 3, H, W]`, normalized, of any type and on any device, to logits `[N, classes]` in fp32 on
    /// the CPU.
    ///
    /// # Panics
    /// Where libtorch refuses, as `tch`'s operators do: no memory, a picture smaller than the network.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        tch::no_grad(|| self.logits(&brought(x, self.target)).to_device(Device::Cpu))
    }

    /// An input as the network takes it, on its device, to logits `[N, classes]` in fp32 there.
    pub(crate) fn logits(&self, x: &Tensor) -> Tensor {
        self.net.forward(x, false).to_kind(Kind::Float)
    }
}

/// A detector for inference. A clone shares its tensors, for another thread.
#[derive(Debug, Clone)]
pub struct PreparedDetector {
    net: DetectorNet,
    target: Target,
    /// How its outputs are read; at first as torchvision does.
    pub settings: DetectionSettings,
}

impl PreparedDetector {
    pub fn target(&self) -> Target {
        self.target
    }

    /// How many classes it has, the background among them where there is one.
    pub fn classes(&self) -> usize {
        usize::try_from(self.net.classes()).unwrap_or(0)
    }

    /// `x` `[N, 3, H, W]`, normalized, of any type and on any device, of which the top left
    /// `[height, width]` are the pictures, to the heads' outputs, on the device.
    ///
    /// # Panics
    /// Where libtorch refuses, as `tch`'s operators do: no memory, a picture smaller than the network.
    pub fn forward(&self, x: &Tensor, picture: [i64; 2]) -> DetectorOutputs {
        tch::no_grad(|| self.outputs(&brought(x, self.target), picture))
    }

    /// How outputs can be read on the GPU, where they can: of dense detectors, with numbers that are not too large.
    pub(crate) fn device_reading(&self, picture: [i64; 2]) -> Option<LevelReading> {
        device_reading(self.net.kind(), &self.settings, picture)
    }

    /// An input as the network takes it, on its device, of whose pixels the top left `[height, width]` are the pictures,
    /// to the heads' outputs there.
    pub(crate) fn outputs(&self, x: &Tensor, picture: [i64; 2]) -> DetectorOutputs {
        let pictures = Pictures { x, extent: picture };
        self.net.forward(pictures, &self.settings.proposals, None)
    }

    /// What is in each of the pictures that `outputs` are about, in pixels of `x`.
    ///
    /// # Panics
    /// As [`PreparedDetector::forward`].
    pub fn read(&self, outputs: &DetectorOutputs, picture: [i64; 2]) -> Vec<Detections> {
        tch::no_grad(|| outputs.read(picture, &self.settings))
    }
}

/// An input as a prepared network takes it.
fn brought(x: &Tensor, target: Target) -> Tensor {
    channels_last(&x.to_device(target.device).to_kind(target.precision.kind()))
}
