//! The TOML document of a file.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::{
    ConfigError, Diagnostic,
    expand::Env,
    reader::{Reader, Section},
};

/// Parses the text of a file with `read`, which receives the root table and the file's folder.
pub(crate) fn parse_with<T>(
    file: &Path,
    text: &str,
    env: Env<'_>,
    read: impl FnOnce(Section<'_, '_>, &Path) -> Option<T>,
) -> Result<T, ConfigError> {
    let fail = |diagnostics| ConfigError { file: file.to_owned(), diagnostics };
    let base = file.parent().map(PathBuf::from).unwrap_or_default();
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
        fail(vec![Diagnostic {
            line,
            key: String::new(),
            what: format!("invalid TOML: {}", error.message()),
        }])
    })?;
    let reader = Reader::new(text, env);
    let settings = read(Section::root(&reader, document.get_ref()), &base);
    let diagnostics = reader.into_diagnostics();
    match settings {
        Some(settings) if diagnostics.is_empty() => Ok(settings),
        _ => Err(fail(diagnostics)),
    }
}
