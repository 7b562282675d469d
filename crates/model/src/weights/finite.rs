//! Checks that weights are finite.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{FormatError, shortened::shortened};

/// Last part of the names of batch norms' variances.
const VARIANCE: &str = "running_var";

/// Checks that all floating-point tensors are finite in fp32, the dtype in which networks keep their weights,
/// and that no variance is negative. With invalid weights a network does not fail but returns wrong results,
/// for example because a fused ReLU turns NaN into 0.
///
/// # Errors
///
/// [`FormatError::NotFinite`] or [`FormatError::NegativeVariance`], with the name of the first invalid tensor.
pub(super) fn check(tensors: &BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    for (name, tensor) in tensors {
        if !matches!(tensor.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            continue;
        }
        let single = tensor.f_to_kind(Kind::Float)?;
        // The sum of all numbers times 0 is 0, or NaN if one of them is not finite. This takes one pass and
        // keeps no mask.
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
