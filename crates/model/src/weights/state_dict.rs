//! The named tensors of a network or a file.

use std::collections::BTreeMap;

use tch::Tensor;

/// The named tensors of a file, on the CPU and in the dtypes of the file. Some may share memory.
#[derive(Debug)]
pub struct StateDict {
    pub tensors: BTreeMap<String, Tensor>,
    /// `sha256:` and the 64 hex digits of the file's SHA-256.
    pub digest: String,
}
