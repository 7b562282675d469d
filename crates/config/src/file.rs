//! Reading of configuration files of each kind.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::de::DeTable;

use crate::{AdasSettings, ConfigError, MonitorSettings, PipelineSettings, RuleReader, parse, parse_monitor};

/// The error of a file that cannot be read or is invalid.
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

/// Settings of a file whose kind is not known in advance.
#[derive(Debug, Clone, PartialEq)]
pub enum AnySettings<R> {
    /// A pipeline file.
    Pipeline(Box<PipelineSettings>),
    /// A file of `lookout monitor`.
    Monitor(Box<MonitorSettings<R>>),
    /// A file of `lookout adas`.
    Adas(Box<AdasSettings>),
}

/// Reads a pipeline file. Variables are expanded from the environment of the process.
pub fn read(file: &Path) -> Result<PipelineSettings, ReadError> {
    Ok(parse(file, &text(file)?, &variable)?)
}

/// Reads a file of `lookout monitor`. Variables are expanded from the environment of the process.
pub fn read_monitor<K: RuleReader>(
    file: &Path,
    readers: &[K],
) -> Result<MonitorSettings<K::Rule>, ReadError> {
    Ok(parse_monitor(file, &text(file)?, &variable, readers)?)
}

/// Reads a file of `lookout adas`. Variables are expanded from the environment of the process.
pub fn read_adas(file: &Path) -> Result<AdasSettings, ReadError> {
    Ok(AdasSettings::parse(file, &text(file)?, &variable)?)
}

/// Reads a file of any kind. Variables are expanded from the environment of the process.
pub fn read_any<K: RuleReader>(file: &Path, readers: &[K]) -> Result<AnySettings<K::Rule>, ReadError> {
    Ok(parse_any(file, &text(file)?, &variable, readers)?)
}

/// Parses the text of a file of any kind. The kind follows from the table that only files of this kind have:
/// `[model]`, `[monitor]` or `[adas]`. A file with none of them is parsed as a pipeline file, which reports
/// what is missing.
///
/// # Errors
/// Returns all errors of the file.
pub fn parse_any<K: RuleReader>(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    readers: &[K],
) -> Result<AnySettings<K::Rule>, ConfigError> {
    let document = DeTable::parse(text);
    let has = |table: &str| document.as_ref().is_ok_and(|document| document.get_ref().contains_key(table));
    Ok(if has("model") {
        AnySettings::Pipeline(Box::new(parse(file, text, env)?))
    } else if has("monitor") {
        AnySettings::Monitor(Box::new(parse_monitor(file, text, env, readers)?))
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
