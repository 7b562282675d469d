//! Creates tensors as views of their storages.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use tch::{Kind, Tensor};

use super::{
    FormatError,
    names::Named,
    pickle::{StorageRef, TensorSpec},
};

/// Maximum total size of all tensors, as a multiple of the file's size, if each were stored separately. A
/// multiple above 1 is legitimate if weights are shared or expanded.
const MAX_SHARING: u64 = 8;

/// Creates the tensors of `specs`. `bytes_of` returns the bytes of a storage from the file of `file_size`
/// bytes; it is called once per storage.
///
/// Tensors that share a storage in the file share its memory, so that the file's size bounds the memory use.
pub(super) fn assemble<'f>(
    specs: Named<&TensorSpec<'_>>,
    file_size: usize,
    mut bytes_of: impl FnMut(&StorageRef<'_>) -> Result<Cow<'f, [u8]>, FormatError>,
) -> Result<Named<Tensor>, FormatError> {
    let mut storages: HashMap<String, (Kind, u64, Tensor)> = HashMap::new();
    let mut left = (file_size as u64).saturating_mul(MAX_SHARING);
    let mut tensors = BTreeMap::new();
    let Named { tensors: specs, removed, others } = specs;
    for (name, spec) in specs {
        let storage = &spec.storage;
        let (size, stride, offset) = checked(&name, spec)?;
        let taken = bytes(numel(&name, &size)?, storage.kind);
        left = taken.and_then(|taken| left.checked_sub(taken)).ok_or_else(|| {
            FormatError::tensor(&name, "with it, the tensors would be much larger than the file")
        })?;
        if !storages.contains_key(storage.key) {
            let made = made(&name, storage, &bytes_of(storage)?)?;
            storages.insert(storage.key.to_owned(), (storage.kind, storage.numel, made));
        }
        let view = match storages.get(storage.key) {
            Some((kind, numel, whole)) if (*kind, *numel) == (storage.kind, storage.numel) => {
                whole.f_as_strided(size, stride, offset)?
            }
            _ => return Err(FormatError::tensor(&name, "its storage has two different descriptions")),
        };
        tensors.insert(name, view);
    }
    Ok(Named { tensors, removed, others })
}

fn made(name: &str, storage: &StorageRef<'_>, data: &[u8]) -> Result<Tensor, FormatError> {
    if bytes(storage.numel, storage.kind) != Some(data.len() as u64) {
        return Err(FormatError::tensor(name, "its storage does not have the declared size"));
    }
    // libtorch's C++ code has undefined behavior for a bool with any other value.
    if storage.kind == Kind::Bool && data.iter().any(|byte| *byte > 1) {
        return Err(FormatError::tensor(name, "a bool is neither 0 nor 1"));
    }
    let numel = i64::try_from(storage.numel)
        .map_err(|_| FormatError::tensor(name, "its storage has too many elements"))?;
    Ok(Tensor::f_from_data_size(data, &[numel], storage.kind)?)
}

/// Returns size, stride and offset of a view after checking that it lies within its storage.
fn checked(name: &str, spec: &TensorSpec<'_>) -> Result<(Vec<i64>, Vec<i64>, i64), FormatError> {
    let TensorSpec { storage, offset, size, stride } = spec;
    let outside = || FormatError::tensor(name, "it reaches outside its storage");
    if size.len() != stride.len() {
        return Err(FormatError::tensor(name, "its size and stride have different lengths"));
    }
    if size.iter().chain(stride).chain([offset]).any(|number| *number < 0) {
        return Err(FormatError::tensor(name, "a size, stride or offset is negative"));
    }
    if size.contains(&0) {
        // Nothing is read through an empty view, and its strides are arbitrary.
        return Ok((size.clone(), vec![1; size.len()], 0));
    }
    let view_numel = i64::try_from(storage.view_numel).map_err(|_| outside())?;
    let view_offset = i64::try_from(storage.view_offset).map_err(|_| outside())?;
    let last = size.iter().zip(stride).try_fold(*offset, |last, (size, stride)| {
        (size - 1).checked_mul(*stride).and_then(|step| last.checked_add(step))
    });
    match last {
        Some(last) if last < view_numel => {}
        _ => return Err(outside()),
    }
    Ok((size.clone(), stride.clone(), offset.checked_add(view_offset).ok_or_else(outside)?))
}

fn numel(name: &str, size: &[i64]) -> Result<u64, FormatError> {
    let numel = if size.contains(&0) {
        Some(0)
    } else {
        size.iter().try_fold(1_i64, |numel, size| numel.checked_mul(*size))
    };
    let numel = numel.and_then(|numel| u64::try_from(numel).ok());
    numel.ok_or_else(|| FormatError::tensor(name, "it has too many elements"))
}

fn bytes(numel: u64, kind: Kind) -> Option<u64> {
    numel.checked_mul(kind.elt_size_in_bytes() as u64)
}
