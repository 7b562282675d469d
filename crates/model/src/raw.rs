//! Raw inputs and outputs in files, to hold a network against another implementation.

use std::path::{Path, PathBuf};

use tch::{Kind, TchError, Tensor};
use thiserror::Error;

use crate::{ModelError, PreparedNetwork};

/// Why a raw input or output is none.
#[derive(Debug, Error)]
pub enum RawError {
    #[error("{} cannot be read as .safetensors", path.display())]
    Read { path: PathBuf, source: TchError },
    #[error("{} holds no tensor `x`; it holds {found:?}", path.display())]
    NoInput { path: PathBuf, found: Vec<String> },
    #[error(
        "`x` in {} is {size:?} of {kind:?}; it has to be [N, 3, H, W] of Float, N at least 1, H and W at \
         least {LEAST_SIDE}", path.display()
    )]
    Misshapen { path: PathBuf, size: Vec<i64>, kind: Kind },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: TchError },
}

/// Of smaller pictures the networks' last stage would see nothing.
const LEAST_SIDE: i64 = 32;

/// An already normalised `x` `[N, 3, H, W]` in fp32.
#[derive(Debug)]
pub struct RawInput(Tensor);

impl RawInput {
    /// Reads the tensor `x` of a `.safetensors` file.
    pub fn read(path: &Path) -> Result<Self, RawError> {
        let tensors = Tensor::read_safetensors(path)
            .map_err(|source| RawError::Read { path: path.to_owned(), source })?;
        let found = || tensors.iter().map(|(name, _)| name.clone()).collect();
        let Some((_, x)) = tensors.iter().find(|(name, _)| name == "x") else {
            return Err(RawError::NoInput { path: path.to_owned(), found: found() });
        };
        match (x.size().as_slice(), x.kind()) {
            ([n, 3, height, width], Kind::Float) if *n >= 1 && *height.min(width) >= LEAST_SIDE => {
                Ok(Self(x.shallow_clone()))
            }
            (size, kind) => Err(RawError::Misshapen { path: path.to_owned(), size: size.to_vec(), kind }),
        }
    }
}

/// What a network says before anything is read into it.
#[derive(Debug)]
pub struct RawOutput {
    /// `[N, K]`
    logits: Tensor,
}

impl RawOutput {
    /// Writes the tensor `logits` `[N, K]` in fp32 to a `.safetensors` file.
    pub fn write(&self, path: &Path) -> Result<(), RawError> {
        Tensor::write_safetensors(&[("logits", &self.logits)], path)
            .map_err(|source| RawError::Write { path: path.to_owned(), source })
    }
}

impl PreparedNetwork {
    /// Computes the raw output for a raw input.
    pub fn run_raw(&self, input: &RawInput) -> Result<RawOutput, ModelError> {
        Ok(RawOutput { logits: self.try_forward(&input.0)? })
    }
}
