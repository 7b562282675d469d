//! Weights that are numbers.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{FormatError, pickle::shortened};

/// The names of a batch norm's variances end so.
const VARIANCE: &str = "running_var";

/// Checks that all tensors are finite in fp32, which networks keep their weights in, and no variance is negative: such
/// weights do not fail, they find what is not there. A fused ReLU turns NaN into 0.
///
/// # Errors
///
/// The first tensor that is not, by its name.
pub(super) fn check(tensors: &BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    for (name, tensor) in tensors {
        if !matches!(tensor.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            continue;
        }
        let single = tensor.f_to_kind(Kind::Float)?;
        // The sum of all numbers times 0 is 0, or NaN where one of them is not finite: one pass, no copy to keep.
        let zero = single.f_mul_scalar(0.0)?.f_sum(Kind::Double)?.f_double_value(&[])?;
        if zero != 0.0 {
            let finite = single.f_isfinite()?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
            let numel = single.numel();
            let count = i64::try_from(numel).unwrap_or(i64::MAX) - finite;
            return Err(FormatError::NotFinite { name: shortened(name), count, numel });
        }
        let is_variance = name.rsplit('.').next() == Some(VARIANCE) && single.numel() > 0;
        if is_variance && single.f_min()?.f_double_value(&[])? < 0.0 {
            return Err(FormatError::NegativeVariance { name: shortened(name) });
        }
    }
    Ok(())
}
