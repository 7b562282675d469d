//! The built-in networks, as far as programs without libtorch need to know them.
//!
//! `lookout_model::archs` has the networks themselves, and a test that holds the two tables equal.

use lookout_schema::Size;

/// What a network computes for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// The classes of the whole image.
    Classification,
    /// Objects with their bounding boxes.
    Detection,
}

impl Task {
    /// Returns the size of the network's input if the settings name none.
    ///
    /// For classifiers, this is the size that they are trained on. For detectors, a full HD frame fits into it at a
    /// third of its width and height, and both sides are multiples of 32, so that no padding is needed.
    pub const fn default_input(self) -> Size {
        match self {
            Self::Classification => Size { width: 224, height: 224 },
            Self::Detection => Size { width: 640, height: 384 },
        }
    }
}

/// Whether training changes the statistics of the batch norms of a network that starts from pretrained weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNorms {
    /// They are computed from each batch.
    Trained,
    /// They stay as they are in the pretrained weights.
    Frozen,
}

/// An entry of [`ARCHS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arch {
    /// The name in pipeline files and recipes. If torchvision has the network, it is torchvision's name.
    pub name: &'static str,
    /// What the network computes.
    pub task: Task,
    /// Operations for one image, in GFLOPs, as in torchvision's table of models.
    pub gflops: f64,
    /// How batch norms are trained.
    pub batch_norms: BatchNorms,
}

/// All built-in networks: classifiers, then detectors. A ResNet without shortcuts (`plain18`, `plain34`) needs the
/// operations of the ResNet, without 6.4 MFLOPs for each of the three projections.
pub static ARCHS: &[Arch] = &[
    classifier("resnet18", 1.81),
    classifier("resnet34", 3.66),
    classifier("resnet50", 4.09),
    classifier("resnet101", 7.80),
    classifier("resnet152", 11.51),
    classifier("wide_resnet50_2", 11.40),
    classifier("resnext50_32x4d", 4.23),
    classifier("plain18", 1.79),
    classifier("plain34", 3.64),
    detector("fcos_resnet50_fpn", 128.21, BatchNorms::Frozen),
    detector("retinanet_resnet50_fpn", 151.54, BatchNorms::Frozen),
    detector("retinanet_resnet50_fpn_v2", 152.24, BatchNorms::Trained),
    detector("fasterrcnn_resnet50_fpn", 134.38, BatchNorms::Frozen),
    detector("fasterrcnn_resnet50_fpn_v2", 280.37, BatchNorms::Trained),
];

/// The `arch` of a network that is loaded from a TorchScript module.
pub const TORCHSCRIPT: &str = "torchscript";

const fn classifier(name: &'static str, gflops: f64) -> Arch {
    Arch { name, task: Task::Classification, gflops, batch_norms: BatchNorms::Trained }
}

const fn detector(name: &'static str, gflops: f64, batch_norms: BatchNorms) -> Arch {
    Arch { name, task: Task::Detection, gflops, batch_norms }
}

impl Arch {
    /// Returns the built-in network with this name.
    pub fn from_name(name: &str) -> Option<&'static Self> {
        ARCHS.iter().find(|arch| arch.name == name)
    }
}

/// Returns the names of all built-in networks.
pub fn arch_names() -> impl Iterator<Item = &'static str> + Clone {
    ARCHS.iter().map(|arch| arch.name)
}

/// Returns the names of the built-in networks for a task.
pub fn arch_names_of(task: Task) -> impl Iterator<Item = &'static str> + Clone {
    ARCHS.iter().filter(move |arch| arch.task == task).map(|arch| arch.name)
}

/// Returns the names of all built-in networks in one line, for messages.
pub fn arch_list() -> String {
    arch_names().collect::<Vec<_>>().join(", ")
}

/// Returns whether `name` is the name of a built-in network for `task`.
pub fn is_arch_of(name: &str, task: Task) -> bool {
    Arch::from_name(name).is_some_and(|arch| arch.task == task)
}
