//! Files: what each is for, and its text to settings.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::de::DeTable;

use crate::{AdasSettings, ConfigError, MonitorSettings, PipelineSettings, parse, parse_monitor};

/// Why a file gives no settings.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("`{}` cannot be read: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The file has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a file may be.
#[derive(Debug, Clone, PartialEq)]
pub enum AnySettings {
    /// A pipeline file.
    Pipeline(Box<PipelineSettings>),
    /// A file of `lookout monitor`.
    Monitor(Box<MonitorSettings>),
    /// A file of `lookout adas`.
    Adas(Box<AdasSettings>),
}

/// Reads the pipeline `file`, with the variables of this process's environment.
pub fn read(file: &Path) -> Result<PipelineSettings, ReadError> {
    Ok(parse(file, &text(file)?, &variable)?)
}

/// Reads a monitor's `file`, as [`read`] does a pipeline's.
pub fn read_monitor(file: &Path) -> Result<MonitorSettings, ReadError> {
    Ok(parse_monitor(file, &text(file)?, &variable)?)
}

/// Reads a file of `lookout adas`, as [`read`] does a pipeline's.
pub fn read_adas(file: &Path) -> Result<AdasSettings, ReadError> {
    Ok(AdasSettings::parse(file, &text(file)?, &variable)?)
}

/// Reads `file` as what it is.
pub fn read_any(file: &Path) -> Result<AnySettings, ReadError> {
    Ok(parse_any(file, &text(file)?, &variable)?)
}

/// Reads a file's text as what it is, by the table that only such a file has; one that has none of them is taken for a
/// pipeline, whose reader says what is wrong.
///
/// # Errors
/// Every mistake of the file.
pub fn parse_any(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<AnySettings, ConfigError> {
    let document = DeTable::parse(text);
    let has = |table: &str| document.as_ref().is_ok_and(|document| document.get_ref().contains_key(table));
    Ok(if has("model") {
        AnySettings::Pipeline(Box::new(parse(file, text, env)?))
    } else if has("monitor") {
        AnySettings::Monitor(Box::new(parse_monitor(file, text, env)?))
    } else if has("adas") {
        AnySettings::Adas(Box::new(AdasSettings::parse(file, text, env)?))
    } else {
        AnySettings::Pipeline(Box::new(parse(file, text, env)?))
    })
}

fn text(file: &Path) -> Result<String, ReadError> {
    fs::read_to_string(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
