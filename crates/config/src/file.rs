//! From a pipeline file on disk to its settings.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::{Spanned, de::DeTable};

use crate::{AdasSettings, ConfigError, Mistake, PipelineSettings, parse};

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
    Ok(parse(file, &text(file)?, &|name| env::var(name).ok())?)
}

/// Reads a file of `lookout adas`, as [`read`] does a pipeline's.
pub fn read_adas(file: &Path) -> Result<AdasSettings, ReadError> {
    Ok(AdasSettings::parse(file, &text(file)?, &|name| env::var(name).ok())?)
}

/// What a file is for, by the table that only such a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Pipeline,
    Adas,
}

/// What `file` is for; one that is no TOML is taken for a pipeline, whose reader says what is wrong.
pub fn kind(file: &Path) -> Result<FileKind, ReadError> {
    let text = text(file)?;
    let has =
        |table: &str| DeTable::parse(&text).is_ok_and(|document| document.get_ref().contains_key(table));
    Ok(if has("adas") { FileKind::Adas } else { FileKind::Pipeline })
}

fn text(file: &Path) -> Result<String, ReadError> {
    fs::read_to_string(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })
}

/// The tables of a file's `text`.
pub(crate) fn document<'t>(file: &Path, text: &'t str) -> Result<Spanned<DeTable<'t>>, ConfigError> {
    DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
        let what = format!("no valid TOML: {}", error.message());
        ConfigError { file: file.to_owned(), mistakes: vec![Mistake { line, key: String::new(), what }] }
    })
}
