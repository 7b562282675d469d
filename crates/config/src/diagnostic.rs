//! Errors of configuration files.

use std::{fmt, path::PathBuf};

use thiserror::Error;

/// One error in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line in the file, from 1.
    pub line: usize,
    /// Path of the key, such as `camera[2].uri`; empty if the file is not valid TOML.
    pub key: String,
    /// What is wrong and what to do.
    pub what: String,
}

/// All errors of one file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Sorted by line; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            let newline = if i > 0 { "\n" } else { "" };
            write!(f, "{newline}{}:{}: ", self.file.display(), diagnostic.line)?;
            if !diagnostic.key.is_empty() {
                write!(f, "{}: ", diagnostic.key)?;
            }
            f.write_str(&diagnostic.what)?;
        }
        Ok(())
    }
}
