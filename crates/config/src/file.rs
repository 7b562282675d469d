//! From a pipeline file on disk to its settings.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{ConfigError, MonitorSettings, PipelineSettings, is_monitor, parse, parse_monitor};

/// Why a pipeline file gives no settings.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("{}: the file cannot be read: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a file may be.
#[derive(Debug, Clone, PartialEq)]
pub enum AnySettings {
    Pipeline(Box<PipelineSettings>),
    Monitor(Box<MonitorSettings>),
}

/// Reads the pipeline `file`, with the variables of this process's environment.
pub fn read(file: &Path) -> Result<PipelineSettings, ReadError> {
    Ok(parse(file, &text(file)?, &variable)?)
}

/// Reads a monitor's `file`, as [`read`] does a pipeline's.
pub fn read_monitor(file: &Path) -> Result<MonitorSettings, ReadError> {
    Ok(parse_monitor(file, &text(file)?, &variable)?)
}

/// Reads `file` as what it is.
pub fn read_any(file: &Path) -> Result<AnySettings, ReadError> {
    let text = text(file)?;
    Ok(if is_monitor(&text) {
        AnySettings::Monitor(Box::new(parse_monitor(file, &text, &variable)?))
    } else {
        AnySettings::Pipeline(Box::new(parse(file, &text, &variable)?))
    })
}

fn text(file: &Path) -> Result<String, ReadError> {
    fs::read_to_string(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
