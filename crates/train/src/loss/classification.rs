//! Losses of image classifiers.

use tch::{Kind, Reduction, Tensor};

/// The loss of a classifier's logits.
#[derive(Debug, Default)]
pub struct ClassLoss {
    pub kind: ClassLossKind,
    /// Label smoothing, 0 to 1: the part of the target that is spread evenly over all classes (Szegedy et al. 2015,
    /// <https://arxiv.org/abs/1512.00567>, section 7).
    pub label_smoothing: f64,
    /// Weights of the classes, `[K]` in fp32; rare classes may have a higher one.
    pub weights: Option<Tensor>,
}

/// The kind of a classification loss.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ClassLossKind {
    #[default]
    CrossEntropy,
    /// Focal loss (Lin et al. 2017): reduces the loss of examples that the network already classifies with certainty,
    /// the more the greater `gamma`.
    Focal { gamma: f64 },
}

impl ClassLoss {
    /// Returns the mean loss of `logits` `[N, K]` in fp32 over the images, as a scalar. `classes` is `[N]` of int64 or
    /// `[N, K]`. With class indices and class weights the mean is weighted, as in torch.
    pub(super) fn of(&self, logits: &Tensor, classes: &Tensor) -> Tensor {
        let weights = self.weights.as_ref().map(|weights| weights.to_device(logits.device()));
        match self.kind {
            ClassLossKind::CrossEntropy => {
                logits.cross_entropy_loss(classes, weights, Reduction::Mean, -100, self.label_smoothing)
            }
            ClassLossKind::Focal { gamma } => self.focal(logits, classes, weights.as_ref(), gamma),
        }
    }

    fn focal(&self, logits: &Tensor, classes: &Tensor, weights: Option<&Tensor>, gamma: f64) -> Tensor {
        let count = logits.size()[1];
        let parts =
            if classes.kind() == Kind::Int64 { classes.one_hot(count) } else { classes.shallow_clone() };
        let parts =
            parts.to_kind(Kind::Float) * (1.0 - self.label_smoothing) + self.label_smoothing / count as f64;
        let parts = match weights {
            Some(weights) => parts * weights,
            None => parts,
        }; // [N, K]
        let log_p = logits.log_softmax(-1, Kind::Float);
        // At a probability of 1 the base is 0, where a power with an exponent below 1 has no derivative.
        let missing: Tensor = 1.0 - log_p.exp();
        let missing = missing.clamp_min(1e-12).pow_tensor_scalar(gamma);
        let cost: Tensor = -(&parts * missing * log_p);
        cost.sum(Kind::Float) / parts.sum(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Tensor {
        Tensor::from_slice(&[1.0_f32, -0.5, 0.2, 0.0, 2.0, -1.0]).view([2, 3])
    }

    #[test]
    fn focal_loss_with_gamma_0_is_cross_entropy() {
        let classes = Tensor::from_slice(&[0_i64, 2]);
        let weights = Some(Tensor::from_slice(&[1.0_f32, 2.0, 3.0]));
        let loss = |kind| {
            let loss = ClassLoss { kind, label_smoothing: 0.0, weights: weights.as_ref().map(Tensor::copy) };
            loss.of(&logits(), &classes).double_value(&[])
        };
        let [plain, focal] = [loss(ClassLossKind::CrossEntropy), loss(ClassLossKind::Focal { gamma: 0.0 })];
        assert!((plain - focal).abs() < 1e-6, "{plain} {focal}");
        assert!(loss(ClassLossKind::Focal { gamma: 2.0 }) < plain);
    }

    #[test]
    fn class_id_and_one_hot_targets_have_equal_loss() {
        let loss = ClassLoss { label_smoothing: 0.1, ..ClassLoss::default() };
        let hard = Tensor::from_slice(&[0_i64, 2]);
        let soft = hard.one_hot(3).to_kind(Kind::Float);
        let [hard, soft] = [hard, soft].map(|classes| loss.of(&logits(), &classes).double_value(&[]));
        assert!((hard - soft).abs() < 1e-6, "{hard} {soft}");
    }
}
