//! From a pipeline file on disk to its settings.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{ConfigError, PipelineSettings, parse};

/// Why a pipeline file gives no settings.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("{}: the file cannot be read: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads the pipeline `file`, with the variables of this process's environment.
pub fn read(file: &Path) -> Result<PipelineSettings, ReadError> {
    let text = fs::read_to_string(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })?;
    Ok(parse(file, &text, &|name| env::var(name).ok())?)
}
