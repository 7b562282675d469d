//! Ground truth of a batch, as tensors.

use tch::{Device, Kind, Tensor};

use crate::Target;
use lookout_measure::ObjectTarget;

/// The ground truth of a batch's images.
#[derive(Debug)]
pub enum Truth {
    /// `[N]` of int64 where each image has one class, otherwise `[N, K]` in fp32, the weight of every class.
    Classes(Tensor),
    Objects(Vec<ObjectTensors>),
}

/// The objects of an image. Boxes are `x1, y1, x2, y2` in pixels of the network's input.
#[derive(Debug)]
pub struct ObjectTensors {
    /// `[M, 4]` in fp32.
    pub boxes: Tensor,
    /// `[M]` of int64, from 1; 0 is the background.
    pub labels: Tensor,
    /// Boxes that are ignored in training, `[I, 4]` in fp32.
    pub ignored: Tensor,
}

impl Truth {
    /// Creates the ground truth of a batch from one target per image, all of the same kind. `classes` is the number of
    /// classes of a classifier.
    pub fn new<'a>(targets: impl IntoIterator<Item = &'a Target>, classes: usize) -> Self {
        let (mut parts, mut objects) = (Vec::new(), Vec::new());
        for target in targets {
            match target {
                Target::Class(of_image) => parts.push(of_image.as_slice()),
                Target::Objects(of_image) => objects.push(ObjectTensors::new(of_image)),
            }
        }
        if parts.is_empty() { Self::Objects(objects) } else { Self::Classes(class_tensor(&parts, classes)) }
    }

    /// Returns the number of images.
    pub fn image_count(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.size().first().map_or(0, |n| *n as usize),
            Self::Objects(objects) => objects.len(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Classes(_) => "classes",
            Self::Objects(_) => "objects",
        }
    }

    #[must_use]
    pub fn to_device(&self, device: Device) -> Self {
        match self {
            Self::Classes(classes) => Self::Classes(classes.to_device(device)),
            Self::Objects(objects) => {
                Self::Objects(objects.iter().map(|objects| objects.to_device(device)).collect())
            }
        }
    }
}

fn class_tensor(parts: &[&[(u32, f32)]], classes: usize) -> Tensor {
    let whole: Option<Vec<i64>> = parts
        .iter()
        .map(|parts| match parts {
            [(class, part)] if *part == 1.0 => Some(i64::from(*class)),
            _ => None,
        })
        .collect();
    if let Some(whole) = whole {
        return Tensor::from_slice(&whole);
    }
    let mut numbers = vec![0.0_f32; parts.len() * classes];
    for (row, parts) in numbers.chunks_mut(classes.max(1)).zip(parts) {
        for (class, part) in *parts {
            if let Some(number) = row.get_mut(*class as usize) {
                *number += part;
            }
        }
    }
    Tensor::from_slice(&numbers).view([-1, classes as i64])
}

impl ObjectTensors {
    /// Creates the tensors for the objects of an image, and skips objects without an area, which no anchor can match.
    pub fn new(objects: &[ObjectTarget]) -> Self {
        let there = objects.iter().filter(|object| {
            let b = object.bbox;
            b.x2 > b.x1 && b.y2 > b.y1
        });
        let (ignored, trained): (Vec<&ObjectTarget>, Vec<_>) = there.partition(|object| object.ignore);
        let labels: Vec<i64> = trained.iter().map(|object| i64::from(object.class_id)).collect();
        Self { boxes: corners(&trained), labels: Tensor::from_slice(&labels), ignored: corners(&ignored) }
    }

    #[must_use]
    pub fn to_device(&self, device: Device) -> Self {
        let [boxes, labels, ignored] =
            [&self.boxes, &self.labels, &self.ignored].map(|tensor| tensor.to_device(device));
        Self { boxes, labels, ignored }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.numel() == 0
    }

    /// Returns the boxes and labels of the objects `matched` `[P]`. If `matched` is empty, the results are `[0, 4]` and
    /// `[0]`.
    pub(super) fn of(&self, matched: &Tensor) -> (Tensor, Tensor) {
        (self.boxes.index_select(0, matched), self.labels.index_select(0, matched))
    }
}

fn corners(objects: &[&ObjectTarget]) -> Tensor {
    let corners: Vec<f32> = objects.iter().flat_map(|object| <[f32; 4]>::from(object.bbox)).collect();
    Tensor::from_slice(&corners).to_kind(Kind::Float).view([-1, 4])
}
