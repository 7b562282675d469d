//! Networks with their parameters, for training and for inference.

use std::collections::BTreeMap;

use lookout_fused::cuda::LevelReading;
use tch::{Device, Kind, Tensor, nn};

use crate::{
    ModelError,
    archs::{self, ArchSpec, Builder},
    conv_norm_act::ConvNormAct,
    detection::{
        DetectionSettings, Detections, DetectorConfig, DetectorNet, DetectorOutputs, InputImages, Pick,
        ProposalSettings,
    },
    kernel::channels_last,
    prepared_conv::PreparedConv,
    random,
    resnet::ResNet,
    target::Target,
    torchscript::PreparedScript,
    weights::{self, StateDict},
};

/// A network in fp32 that can be trained, or prepared for inference. It starts on the CPU.
#[derive(Debug)]
pub struct Network {
    arch: &'static ArchSpec,
    num_classes: i64,
    parameters: nn::VarStore,
    net: Net,
}

#[derive(Debug)]
enum Net {
    Classifier(Box<ResNet<ConvNormAct>>),
    Detector(DetectorNet<ConvNormAct>, DetectionSettings),
}

/// Returns a ResNet-50 with `num_classes` outputs and torchvision's initial values for training, drawn from `seed`.
///
/// # Examples
///
/// ```
/// use lookout_model::{Target, random_values, resnet50};
///
/// let network = resnet50(1000, 0);
/// assert_eq!(network.tensors()["layer1.0.conv2.weight"].size(), [64, 64, 3, 3]);
/// // For torchvision's weights: network.load(lookout_model::weights::read(path)?)?;
///
/// // A normalized batch [N, 3, H, W].
/// let x = random_values("x", 0, &[2, 3, 64, 64], -2.0..2.0);
/// let classifier = network.prepare(Target::REFERENCE).into_classifier().ok_or("not a classifier")?;
/// assert_eq!(classifier.forward(&x).size(), [2, 1000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resnet50(num_classes: i64, seed: u64) -> Network {
    let mut network = Network::build(&archs::resnet50::SPEC, num_classes, "");
    network.reset_parameters(seed);
    network
}

/// A network's outputs before postprocessing.
#[derive(Debug)]
pub enum Outputs {
    /// `[N, classes]`
    Logits(Tensor),
    Detector(DetectorOutputs),
}

impl Network {
    /// Creates a network of `arch` with `classes` outputs. Its parameters are placeholders.
    ///
    /// For detectors with a background class, `classes` includes it.
    ///
    /// # Errors
    /// `arch` is not a built-in network.
    pub fn new(arch: &str, classes: i64) -> Result<Self, ModelError> {
        Ok(Self::build(ArchSpec::from_name(arch)?, classes, ""))
    }

    /// Creates a network for the weights with the digest `digest`.
    fn build(arch: &'static ArchSpec, num_classes: i64, digest: &str) -> Self {
        let parameters = nn::VarStore::new(Device::Cpu);
        let path = parameters.root();
        let net = match &arch.builder {
            Builder::ResNet(config) => Net::Classifier(Box::new(ResNet::new(&path, *config, num_classes))),
            Builder::Detector(detector) => {
                let config = DetectorConfig { num_classes, frozen_eps: detector.frozen_eps(digest) };
                Net::Detector((detector.build)(&path, config), detector.postprocessing)
            }
        };
        Self { arch, num_classes, parameters, net }
    }

    /// Returns the description of the network.
    pub fn arch(&self) -> &'static ArchSpec {
        self.arch
    }

    /// Finds the tensors of a network of `arch` in `state`, and returns them with the prefix that was removed from
    /// their names.
    ///
    /// The state dict may hold the tensors under a prefix or next to those of another network.
    ///
    /// # Errors
    /// `state` holds several such networks, or `arch` is not a built-in network.
    pub fn found_in(arch: &str, state: StateDict) -> Result<(StateDict, Option<String>), ModelError> {
        Ok(weights::taken(state, ArchSpec::from_name(arch)?.layout.landmarks)?)
    }

    /// Creates the network of `arch` with the tensors of `state`, which also determine its number of classes.
    ///
    /// # Errors
    /// Tensors are missing, unexpected or misshapen, or `arch` is not a built-in network.
    pub fn from_state(arch: &str, state: StateDict) -> Result<Self, ModelError> {
        let arch = ArchSpec::from_name(arch)?;
        let mut network = Self::build(arch, arch.num_classes(&state), &state.digest);
        network.load(state)?;
        Ok(network)
    }

    /// Creates a network of `arch` with random weights from `seed` and with as many classes as torchvision's weights
    /// have.
    ///
    /// # Errors
    /// `arch` is not a built-in network.
    pub fn from_seed(arch: &str, seed: u64) -> Result<Self, ModelError> {
        let mut network = Self::new(arch, ArchSpec::from_name(arch)?.default_num_classes)?;
        network.fill(seed);
        Ok(network)
    }

    /// Returns the parameters and the running statistics under torchvision's names.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.parameters.variables().into_iter().collect()
    }

    /// Loads a state dict, which must have exactly the network's tensors.
    ///
    /// # Errors
    /// Tensors are missing, unexpected or misshapen.
    pub fn load(&mut self, mut state: StateDict) -> Result<(), ModelError> {
        self.arch.layout.upgrade_state_dict(&mut state);
        Ok(weights::apply(&self.tensors(), state)?)
    }

    /// Loads a classifier's state dict into a detector's backbone before training, as torchvision's `weights_backbone`.
    ///
    /// Skips the classifier's last layer, and leaves the rest of the detector unchanged. The state dict must be that of
    /// a ResNet-50.
    ///
    /// # Errors
    /// The network is not a detector, or tensors do not fit; the error gives their names in the detector.
    pub fn load_backbone(&mut self, state: StateDict) -> Result<(), ModelError> {
        let backbone = self.arch.backbone().ok_or(ModelError::NoBackbone)?;
        let classifier = ArchSpec::from_name(backbone)?.layout;
        let prefix = self.arch.layout.backbone;
        let mut body = self.tensors();
        body.retain(|name, _| name.starts_with(prefix));
        let StateDict { tensors, digest } = state;
        let stages = tensors.into_iter().filter(|(name, _)| !classifier.is_of_class_layer(name));
        let tensors = stages.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
        Ok(weights::apply(&body, StateDict { tensors, digest })?)
    }

    /// Fills the network with random weights from `seed`.
    pub fn fill(&mut self, seed: u64) {
        random::fill(&self.tensors(), seed, &self.arch.layout, self.arch.class_logits);
    }

    /// Sets all parameters to torchvision's initial values for training, which depend only on `seed`.
    pub fn reset_parameters(&mut self, seed: u64) {
        match &self.net {
            Net::Classifier(net) => net.reset_parameters(seed),
            Net::Detector(net, _) => net.reset_parameters(seed),
        }
    }

    /// Moves the network to a device. Its tensors stay in fp32.
    pub fn move_to(&mut self, device: Device) {
        self.parameters.set_device(device);
    }

    /// Runs the forward pass of training on `x` `[N, 3, H, W]`, which is normalized, and returns differentiable
    /// outputs.
    ///
    /// Trained batch norms use the batch's statistics. The network computes in the dtype of `x`, whatever the dtype of
    /// its parameters. `pick` chooses the proposals that the second stage of Faster R-CNN processes.
    ///
    /// # Panics
    /// Panics if libtorch returns an error, as `tch`'s operators do: not enough memory, or an image that is too small
    /// for the network.
    pub fn forward(&self, x: &Tensor, pick: &mut Pick<'_>) -> Outputs {
        match &self.net {
            Net::Classifier(net) => Outputs::Logits(net.forward(x)),
            Net::Detector(net, _) => {
                Outputs::Detector(net.forward(InputImages::whole(x), &ProposalSettings::TRAINING, Some(pick)))
            }
        }
    }

    /// Converts the network for inference on `target`.
    pub fn prepare(self, target: Target) -> PreparedNetwork {
        let Self { num_classes, parameters, net, .. } = self;
        let prepared = tch::no_grad(|| match net {
            Net::Classifier(net) => {
                let net = Box::new(net.prepare(target));
                PreparedNetwork::Classifier(PreparedClassifier { net, target })
            }
            Net::Detector(net, settings) => {
                let net = net.prepare(target);
                PreparedNetwork::Detector(PreparedDetector { net, num_classes, target, settings })
            }
        });
        // Frees the tensors that only training needs.
        drop(parameters);
        prepared
    }
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

/// A classifier for inference. A clone shares its tensors, so that another thread can use it.
#[derive(Debug, Clone)]
pub struct PreparedClassifier {
    net: Box<ResNet<PreparedConv>>,
    target: Target,
}

impl PreparedClassifier {
    pub fn target(&self) -> Target {
        self.target
    }

    pub fn classes(&self) -> usize {
        self.net.classes()
    }

    /// Returns logits `[N, classes]` in fp32 on the CPU.
    ///
    /// `x` `[N, 3, H, W]` is normalized and has any dtype and device.
    ///
    /// # Panics
    /// Panics if libtorch returns an error, as `tch`'s operators do: not enough memory, or an image that is too small
    /// for the network.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        tch::no_grad(|| self.logits(&brought(x, self.target)).to_device(Device::Cpu))
    }

    /// Returns logits `[N, classes]` in fp32 on the network's device. `x` must have the network's device, dtype and
    /// layout.
    pub(crate) fn logits(&self, x: &Tensor) -> Tensor {
        self.net.forward(x).to_kind(Kind::Float)
    }
}

/// A detector for inference. A clone shares its tensors, so that another thread can use it.
#[derive(Debug, Clone)]
pub struct PreparedDetector {
    net: DetectorNet<PreparedConv>,
    num_classes: i64,
    target: Target,
    /// The postprocessing settings, initially those of torchvision.
    pub settings: DetectionSettings,
}

impl PreparedDetector {
    pub fn target(&self) -> Target {
        self.target
    }

    /// Returns the number of classes, including the background if the detector has one.
    pub fn classes(&self) -> usize {
        usize::try_from(self.num_classes).unwrap_or(0)
    }

    /// Returns the outputs of the detector's heads, on its device.
    ///
    /// `x` `[N, 3, H, W]` is normalized and has any dtype and device. The images are its top left `[height, width]`
    /// pixels, given by `image_size`; the rest is padding.
    ///
    /// # Panics
    /// Panics if libtorch returns an error, as `tch`'s operators do: not enough memory, or an image that is too small
    /// for the network.
    pub fn forward(&self, x: &Tensor, image_size: [i64; 2]) -> DetectorOutputs {
        tch::no_grad(|| self.outputs(&brought(x, self.target), image_size))
    }

    /// Returns the postprocessing for the GPU. `None` for detectors that are not dense, and for settings beyond its
    /// limits.
    pub(crate) fn device_reading(&self, image_size: [i64; 2]) -> Option<LevelReading> {
        self.net.device_reading(&self.settings, image_size)
    }

    /// Returns the outputs of the detector's heads, on its device.
    ///
    /// `x` must have the network's device, dtype and layout. The images are its top left `[height, width]` pixels,
    /// given by `image_size`.
    pub(crate) fn outputs(&self, x: &Tensor, image_size: [i64; 2]) -> DetectorOutputs {
        let images = InputImages { x, extent: image_size };
        self.net.forward(images, &self.settings.proposals, None)
    }

    /// Postprocesses `outputs` to the detections in each image, in pixels of the network's input.
    ///
    /// # Panics
    /// Panics as [`PreparedDetector::forward`] does.
    pub fn read(&self, outputs: &DetectorOutputs, image_size: [i64; 2]) -> Vec<Detections> {
        tch::no_grad(|| outputs.read(image_size, &self.settings))
    }
}

/// Converts an input to the device, dtype and memory format of a prepared network.
fn brought(x: &Tensor, target: Target) -> Tensor {
    channels_last(&x.to_device(target.device).to_kind(target.precision.kind()))
}
