//! Assignment of objects to anchors and proposals.

use tch::{Kind, Tensor};

use super::{
    ObjectTensors,
    boxes::{box_iou, mostly_in},
};

/// An anchor without an object, which is a negative.
pub(super) const BACKGROUND: i64 = -1;
/// An anchor that is excluded from the loss: its IoU lies between the thresholds, or an ignored box covers it.
pub(super) const IGNORED: i64 = -2;

/// The IoU thresholds for matching anchors with objects, as in torchvision's `Matcher`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matcher {
    /// An anchor matches at this IoU or above.
    pub(super) high: f64,
    /// An anchor is background below this IoU.
    pub(super) low: f64,
    /// Whether the anchors with the highest IoU of each object match even below `high`.
    pub(super) every_object: bool,
}

impl Matcher {
    /// Returns the index of each anchor's object, [`BACKGROUND`] or [`IGNORED`]: `anchors` `[A, 4]` to `[A]` of int64.
    pub(super) fn match_to(self, objects: &ObjectTensors, anchors: &Tensor) -> Tensor {
        let matched = if objects.is_empty() {
            Tensor::full([anchors.size()[0]], BACKGROUND, (Kind::Int64, anchors.device()))
        } else {
            self.matched(&box_iou(&objects.boxes, anchors))
        };
        let ignored = mostly_in(&objects.ignored, anchors).logical_and(&matched.lt(0));
        matched.masked_fill(&ignored, IGNORED)
    }

    /// Matches by IoU: `iou` `[M, A]` to `[A]`.
    fn matched(self, iou: &Tensor) -> Tensor {
        let (best, nearest) = iou.max_dim(0, false); // [A]
        let matched =
            nearest.masked_fill(&best.lt(self.high), IGNORED).masked_fill(&best.lt(self.low), BACKGROUND);
        if !self.every_object {
            return matched;
        }
        // An anchor that is the best of any object gets the object with which it has the highest IoU itself, as in
        // torchvision.
        let is_best = iou.eq_tensor(&iou.amax([1], true)).any_dim(0, false);
        nearest.where_self(&is_best, &matched)
    }
}

/// Returns the indices of the rows of `[A]` that match an object.
pub(super) fn positives(matched: &Tensor) -> Tensor {
    matched.ge(0).nonzero().squeeze_dim(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(corners: &[[f32; 4]]) -> Tensor {
        Tensor::from_slice(corners.as_flattened()).view([-1, 4])
    }

    fn matched(objects: &[[f32; 4]], ignored: &[[f32; 4]], anchors: &[[f32; 4]]) -> Vec<i64> {
        let labels = Tensor::ones([objects.len() as i64], (Kind::Int64, tch::Device::Cpu));
        let objects = ObjectTensors { boxes: boxes(objects), labels, ignored: boxes(ignored) };
        let matcher = Matcher { high: 0.5, low: 0.4, every_object: true };
        Vec::try_from(&matcher.match_to(&objects, &boxes(anchors))).unwrap()
    }

    const OBJECT: [f32; 4] = [0.0, 0.0, 10.0, 10.0];

    #[test]
    fn anchors_are_positive_negative_or_ignored() {
        let anchors =
            [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 4.5], [0.0, 0.0, 10.0, 3.0], [20.0, 20.0, 30.0, 30.0]];
        assert_eq!(matched(&[OBJECT], &[], &anchors), [0, IGNORED, BACKGROUND, BACKGROUND]);
        assert_eq!(matched(&[], &[], &anchors), [BACKGROUND; 4]);
    }

    #[test]
    fn object_without_a_match_gets_its_best_anchor() {
        let anchors = [[0.0, 0.0, 10.0, 3.0], [0.0, 0.0, 10.0, 2.0]];
        assert_eq!(matched(&[OBJECT], &[], &anchors), [0, BACKGROUND]);
    }

    #[test]
    fn anchors_in_ignored_regions_are_ignored_unless_matched() {
        let crowd = [[0.0, 0.0, 40.0, 40.0]];
        let anchors = [
            [0.0, 0.0, 10.0, 10.0],
            [20.0, 20.0, 30.0, 30.0],
            [35.0, 20.0, 43.0, 30.0],
            [37.0, 20.0, 47.0, 30.0],
        ];
        assert_eq!(matched(&[OBJECT], &crowd, &anchors), [0, IGNORED, IGNORED, BACKGROUND]);
        assert_eq!(matched(&[], &crowd, &anchors), [IGNORED, IGNORED, IGNORED, BACKGROUND]);
    }
}
