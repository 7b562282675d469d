//! Focal loss: Lin et al. 2017 (<https://arxiv.org/abs/1708.02002>), section 3, with its `gamma` of 2 and its
//! `alpha` of 0.25, as in torchvision.

use tch::Tensor;

/// How much an object counts; the background counts the rest of one.
const ALPHA: f64 = 0.25;

/// What a logit costs that should say no, each of `logits`.
///
/// Nearly all of a detector's logits should, so that this is the work: one-hot truth and the way over it
/// would be thrice as much.
pub(super) fn of_no(logits: &Tensor) -> Tensor {
    let p = logits.sigmoid();
    (1.0 - ALPHA) * p.square() * logits.softplus()
}

/// What a logit costs that should say yes, beyond what it would cost if it should say no.
pub(super) fn of_yes_over_no(logits: &Tensor) -> Tensor {
    let missing = (-logits).sigmoid();
    ALPHA * missing.square() * (-logits).softplus() - of_no(logits)
}
