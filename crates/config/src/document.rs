//! The TOML document of a file.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::{
    ConfigError, Mistake,
    expand::Env,
    reader::{Reader, Section},
};

/// Reads a file's text by `read`, which takes its root and its folder.
pub(crate) fn parse_with<T>(
    file: &Path,
    text: &str,
    env: Env<'_>,
    read: impl FnOnce(Section<'_, '_>, &Path) -> Option<T>,
) -> Result<T, ConfigError> {
    let fail = |mistakes| ConfigError { file: file.to_owned(), mistakes };
    let base = file.parent().map(PathBuf::from).unwrap_or_default();
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
        fail(vec![Mistake { line, key: String::new(), what: format!("invalid TOML: {}", error.message()) }])
    })?;
    let reader = Reader::new(text, env);
    let settings = read(Section::root(&reader, document.get_ref()), &base);
    let mistakes = reader.into_mistakes();
    match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => Err(fail(mistakes)),
    }
}
