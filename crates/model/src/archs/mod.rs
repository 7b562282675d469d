//! The built-in networks, one file each.
//!
//! To add a network of a known family, add a file with its [`ArchSpec`], its line in [`ARCHS`], and its line in
//! `lookout_config::ARCHS`, the table for programs without libtorch.

mod fasterrcnn_resnet50_fpn;
mod fasterrcnn_resnet50_fpn_v2;
mod fcos_resnet50_fpn;
mod plain18;
mod plain34;
mod resnet101;
mod resnet152;
mod resnet18;
mod resnet34;
pub(crate) mod resnet50;
mod resnext50_32x4d;
mod retinanet_resnet50_fpn;
mod retinanet_resnet50_fpn_v2;
mod wide_resnet50_2;

use std::path::{Path, PathBuf};

use lookout_config::{BatchNorms, Task};
use tch::{Tensor, nn};

use crate::{
    ModelError,
    conv_norm_act::ConvNormAct,
    detection::{DetectionSettings, DetectorConfig, DetectorNet},
    norm::EPS,
    random::ClassLogits,
    resnet::ResNetConfig,
    weights::{Fetch, Layout, Published, StateDict, WeightsError},
};

/// All built-in networks, in the order of `lookout_config::ARCHS`.
pub static ARCHS: &[&ArchSpec] = &[
    &resnet18::SPEC,
    &resnet34::SPEC,
    &resnet50::SPEC,
    &resnet101::SPEC,
    &resnet152::SPEC,
    &wide_resnet50_2::SPEC,
    &resnext50_32x4d::SPEC,
    &plain18::SPEC,
    &plain34::SPEC,
    &fcos_resnet50_fpn::SPEC,
    &retinanet_resnet50_fpn::SPEC,
    &retinanet_resnet50_fpn_v2::SPEC,
    &fasterrcnn_resnet50_fpn::SPEC,
    &fasterrcnn_resnet50_fpn_v2::SPEC,
];

/// The description of a built-in network: everything in which it differs from the others.
#[derive(Debug)]
pub struct ArchSpec {
    /// The name in pipeline files, recipes and records. If torchvision has the network, it is torchvision's name.
    pub name: &'static str,
    pub task: Task,
    /// Creates the layers.
    pub(crate) builder: Builder,
    /// Whether batch norms are trained if the network starts from pretrained weights.
    pub batch_norms: BatchNorms,
    /// The losses that the network is trained with.
    pub loss: LossFamily,
    /// The names of the tensors in a state dict.
    pub layout: Layout,
    /// The distribution of random class logits, for benchmarks and tests.
    pub(crate) class_logits: ClassLogits,
    /// The number of classes of torchvision's weights. For detectors with a background class, it is included.
    pub default_num_classes: i64,
    /// torchvision's weight files, the default one last.
    pub weights: &'static [Published],
    /// Operations for one image, in GFLOPs, as in torchvision's table of models.
    pub gflops: f64,
}

/// Creates the layers of a network.
#[derive(Debug)]
pub(crate) enum Builder {
    ResNet(ResNetConfig),
    Detector(DetectorBuilder),
}

/// The parts in which detectors differ.
#[derive(Debug)]
pub(crate) struct DetectorBuilder {
    pub(crate) build: fn(&nn::Path<'_>, DetectorConfig) -> DetectorNet<ConvNormAct>,
    /// torchvision's postprocessing settings.
    pub(crate) postprocessing: DetectionSettings,
    /// The classifier that is the backbone.
    pub(crate) backbone: &'static str,
    /// Digest prefix of the file that was trained when torchvision's frozen batch norms added no epsilon to the
    /// variance. torchvision sets `eps` to zero for exactly these files (`overwrite_eps`).
    pub(crate) trained_without_eps: Option<&'static str>,
}

/// The losses of a network, which the training crate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossFamily {
    /// Cross entropy or focal loss of the logits.
    Classification,
    /// Focal loss, and the L1 loss of the encoded box deltas.
    RetinaNetL1,
    /// Focal loss, and the GIoU loss of the decoded boxes.
    RetinaNetGiou,
    /// Focal loss, GIoU loss and center-ness.
    Fcos,
    /// The losses of the region proposal network and of the second stage.
    FasterRcnn,
}

impl ArchSpec {
    /// Returns the network with this name.
    ///
    /// # Errors
    /// [`ModelError::UnknownArch`] if there is none.
    pub fn from_name(name: &str) -> Result<&'static Self, ModelError> {
        let found = ARCHS.iter().copied().find(|spec| spec.name == name);
        found.ok_or_else(|| ModelError::UnknownArch { arch: name.to_owned() })
    }

    /// Returns the number of classes of the network whose state dict is `state`, or the default number if the layer of
    /// the class logits is missing or has an unexpected size: these are reported with all other mismatches when the
    /// weights are applied.
    pub(crate) fn num_classes(&self, state: &StateDict) -> i64 {
        let each = self.layout.logits_per_class;
        let bias = self.layout.class_logits().map(|layer| format!("{layer}.bias"));
        let bias = bias.and_then(|name| state.tensors.get(&name)).map(Tensor::size);
        match bias.as_deref() {
            Some([size]) if *size > 0 && size % each == 0 => size / each,
            _ => self.default_num_classes,
        }
    }

    /// For a detector, returns the classifier that is its backbone.
    pub fn backbone(&self) -> Option<&'static str> {
        match &self.builder {
            Builder::ResNet(_) => None,
            Builder::Detector(detector) => Some(detector.backbone),
        }
    }
}

impl DetectorBuilder {
    /// Returns the epsilon of the frozen batch norms with the weights of this digest.
    pub(crate) fn frozen_eps(&self, digest: &str) -> f64 {
        let without = self.trained_without_eps.is_some_and(|prefix| digest.starts_with(prefix));
        if without { 0.0 } else { EPS }
    }
}

/// Returns all weight files that torchvision publishes for the built-in networks.
pub fn published_files() -> impl Iterator<Item = &'static Published> {
    ARCHS.iter().flat_map(|spec| spec.weights)
}

/// Returns the file that torchvision uses for a network by default, which is its most accurate one. Returns `None` if
/// no file is known.
pub fn published(arch: &str) -> Option<&'static Published> {
    ArchSpec::from_name(arch).ok().and_then(|spec| spec.weights.last())
}

/// Returns the path of torchvision's default weights for `arch` in the cache folder `cache_dir`. Downloads them if they
/// are not in the cache.
///
/// # Errors
/// Those of [`Fetch::published`], and [`WeightsError::NotPublished`] if torchvision publishes no weights for `arch`.
pub fn fetch_torchvision(arch: &str, cache_dir: &Path) -> Result<PathBuf, WeightsError> {
    let published = published(arch).ok_or_else(|| WeightsError::NotPublished { arch: arch.to_owned() })?;
    Fetch::default().published(published, cache_dir, &mut |_| {})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn table_equals_the_one_for_programs_without_libtorch() {
        let own: Vec<lookout_config::Arch> = ARCHS
            .iter()
            .map(|spec| {
                let ArchSpec { name, task, gflops, batch_norms, .. } = **spec;
                lookout_config::Arch { name, task, gflops, batch_norms }
            })
            .collect();
        assert_eq!(own, lookout_config::ARCHS);
        assert!(matches!(ArchSpec::from_name("vgg16"), Err(ModelError::UnknownArch { .. })));
    }

    #[test]
    fn published_files_belong_to_their_network() {
        for spec in ARCHS {
            assert!(spec.weights.iter().all(|published| published.arch == spec.name), "{}", spec.name);
            assert!(spec.backbone().is_none_or(|backbone| ArchSpec::from_name(backbone).is_ok()));
        }
    }

    fn num_classes(arch: &str, layer: &str, size: i64) -> i64 {
        let bias = Tensor::zeros([size], (Kind::Float, Device::Cpu));
        let tensors = BTreeMap::from([(format!("{layer}.bias"), bias)]);
        let state = StateDict { tensors, digest: String::new() };
        ArchSpec::from_name(arch).unwrap().num_classes(&state)
    }

    #[test]
    fn number_of_classes_comes_from_the_weights() {
        const DENSE: &str = "head.classification_head.cls_logits";
        assert_eq!(num_classes("resnet18", "fc", 7), 7);
        assert_eq!(num_classes("retinanet_resnet50_fpn_v2", DENSE, 9 * 7), 7);
        assert_eq!(num_classes("fcos_resnet50_fpn", DENSE, 7), 7);
        assert_eq!(num_classes("fasterrcnn_resnet50_fpn", "roi_heads.box_predictor.cls_score", 7), 7);
        // Ten is not a multiple of nine anchors. The mismatch is reported when the weights are applied.
        assert_eq!(num_classes("retinanet_resnet50_fpn", DENSE, 10), 91);
        assert_eq!(num_classes("resnet18", "other", 7), 1000);
    }

    #[test]
    fn published_v1_weights_use_no_eps() {
        let eps = |arch: &str, digest| match &ArchSpec::from_name(arch).unwrap().builder {
            Builder::Detector(detector) => detector.frozen_eps(digest),
            Builder::ResNet(_) => panic!("{arch} is a classifier"),
        };
        assert_eq!(eps("retinanet_resnet50_fpn", "sha256:eeacb38b00"), 0.0);
        assert_eq!(eps("fasterrcnn_resnet50_fpn", "sha256:258fb6c600"), 0.0);
        assert_eq!(eps("retinanet_resnet50_fpn", "sha256:0000000000"), EPS);
    }
}
