//! Focal loss: Lin et al. 2017 (<https://arxiv.org/abs/1708.02002>), section 3, with its `gamma` of 2 and its `alpha`
//! of 0.25, as in torchvision.

use tch::Tensor;

/// The weight of positives; negatives have `1 - ALPHA`.
const ALPHA: f64 = 0.25;

/// Returns the loss of each of `logits` with target 0.
///
/// Nearly all logits of a detector have target 0, so this dominates the cost. A one-hot target and the general formula
/// would need three times as much work.
pub(super) fn of_negatives(logits: &Tensor) -> Tensor {
    let p = logits.sigmoid();
    (1.0 - ALPHA) * p.square() * logits.softplus()
}

/// Returns the loss of each of `logits` with target 1, minus its loss with target 0.
pub(super) fn of_positives_minus_negatives(logits: &Tensor) -> Tensor {
    let missing = (-logits).sigmoid();
    ALPHA * missing.square() * (-logits).softplus() - of_negatives(logits)
}
