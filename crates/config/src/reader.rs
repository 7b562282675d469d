//! Reads a TOML table key by key and collects all errors. serde would stop at the first one.

mod arrays;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::{self, Display},
    net::SocketAddr,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostic::Diagnostic,
    expand::{Env, Piece, expand, join},
};

/// The file that is being read, and the errors found so far.
pub(crate) struct Reader<'a> {
    text: &'a str,
    env: Env<'a>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, env: Env<'a>) -> Self {
        Self { text, env, diagnostics: RefCell::default() }
    }

    /// Adds an error at a byte offset of the file.
    pub(crate) fn note(&self, at: usize, key: impl Into<String>, what: impl Into<String>) {
        let line = 1 + self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
        self.diagnostics.borrow_mut().push(Diagnostic { line, key: key.into(), what: what.into() });
    }

    /// Returns the errors, sorted by line.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics.into_inner();
        diagnostics.sort_by_key(|diagnostic| diagnostic.line);
        diagnostics
    }
}

/// A table of the file. Keys that were never read are unknown keys.
pub struct Section<'r, 'a> {
    reader: &'r Reader<'a>,
    path: String,
    at: usize,
    table: Option<&'r DeTable<'a>>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl fmt::Debug for Section<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'r, 'a> Section<'r, 'a> {
    pub(crate) fn root(reader: &'r Reader<'a>, table: &'r DeTable<'a>) -> Self {
        Self::new(reader, String::new(), 0, Some(table))
    }

    fn new(reader: &'r Reader<'a>, path: String, at: usize, table: Option<&'r DeTable<'a>>) -> Self {
        Self { reader, path, at, table, asked: RefCell::default() }
    }

    /// Adds an error for `key`.
    pub fn note(&self, key: &str, what: impl Into<String>) {
        let at = self.table.and_then(|t| t.get(key)).map_or(self.at, |value| value.span().start);
        self.reader.note(at, self.key(key), what);
    }

    fn key(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    fn get(&self, key: &'static str) -> Option<&'r Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key);
        self.table?.get(key)
    }

    /// Returns whether `key` is set, with any type of value.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Adds an error if the required `key` is not set.
    pub fn need(&self, key: &str, what: impl Into<String>) {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.note(key, what);
        }
    }

    fn wrong_type(&self, key: &str, want: &str, got: &DeValue<'_>) {
        self.note(key, format!("expected {want}, found a TOML {}", got.type_str()));
    }

    /// Returns a table. An absent table is returned as an empty one.
    pub(crate) fn section(&self, key: &'static str) -> Section<'r, 'a> {
        let value = self.get(key);
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.wrong_type(key, "a table", other);
                None
            }
        });
        Section::new(self.reader, self.key(key), value.map_or(self.at, |v| v.span().start), table)
    }

    /// Returns an optional table, or `None` if it is absent.
    pub(crate) fn optional_section(&self, key: &'static str) -> Option<Section<'r, 'a>> {
        let section = self.section(key);
        section.table.is_some().then_some(section)
    }

    /// Reads an array of tables, `[[key]]`. Returns `None` if it is absent or has another type.
    pub(crate) fn sections(&self, key: &'static str) -> Option<Vec<Section<'r, 'a>>> {
        let value = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, "an array of tables (`[[...]]`)", value.get_ref());
            return None;
        };
        let mut sections = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}[{i}]", self.key(key));
            match item.get_ref() {
                DeValue::Table(t) => {
                    sections.push(Section::new(self.reader, path, item.span().start, Some(t)));
                }
                other => {
                    let what = format!("expected a table, found a TOML {}", other.type_str());
                    self.reader.note(item.span().start, path, what);
                }
            }
        }
        Some(sections)
    }

    /// Reads a string, with the values of its variables as separate pieces.
    pub(crate) fn pieces(&self, key: &'static str) -> Option<Vec<Piece>> {
        let value = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(key, "a string in quotes", value.get_ref());
            return None;
        };
        expand(text, self.reader.env).map_err(|what| self.note(key, what)).ok()
    }

    /// Reads a string with its variables expanded.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.pieces(key).map(join)
    }

    /// Reads a string and parses it as `T`.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        self.text(key)?.parse().map_err(|error: T::Err| self.note(key, error.to_string())).ok()
    }

    /// Reads a string that must be one of the names in `choices`.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            self.note(key, not_one_of(&text, names));
        }
        found
    }

    /// Reads `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        if let DeValue::Boolean(b) = value.get_ref() {
            return Some(*b);
        }
        self.wrong_type(key, "true or false", value.get_ref());
        None
    }

    /// Reads a whole number within `range`.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(key, "a whole number", value.get_ref());
            return None;
        };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        let within = number.and_then(|n| u64::try_from(n).ok()).filter(|n| range.contains(n));
        if within.is_none() {
            let what = format!("{digits} is not between {} and {}", range.start(), range.end());
            self.note(key, what);
        }
        within
    }

    /// Reads a number within `range`.
    pub fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?;
        let Some(text) = digits(value.get_ref()) else {
            self.wrong_type(key, "a number", value.get_ref());
            return None;
        };
        let within = text.parse::<f64>().ok().filter(|n| range.contains(n));
        if within.is_none() {
            self.note(key, format!("{text} is not between {} and {}", range.start(), range.end()));
        }
        within
    }

    /// Reads a listen address, IP:PORT.
    pub(crate) fn address(&self, key: &'static str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let address = text.parse();
        if address.is_err() {
            self.note(key, format!("`{text}` is not a valid address; use IP:PORT, such as `127.0.0.1:9600`"));
        }
        address.ok()
    }

    /// Reads a time in milliseconds within `range`.
    pub fn millis(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.integer(key, range).map(Duration::from_millis)
    }

    /// Returns every key of this table with its value as text, for settings that are passed on unchanged.
    pub(crate) fn pass_through(&self) -> Vec<(String, String)> {
        let Some(table) = self.table else { return Vec::new() };
        let mut settings = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let text = match value.get_ref() {
                DeValue::String(text) => match expand(text, self.reader.env) {
                    Ok(pieces) => join(pieces),
                    Err(what) => {
                        self.note(&name, what);
                        continue;
                    }
                },
                DeValue::Integer(digits) => digits.to_string(),
                DeValue::Float(digits) => digits.to_string(),
                DeValue::Boolean(b) => b.to_string(),
                other => {
                    self.wrong_type(
                        &name,
                        "a string, a number, true or false (quote names that contain dots)",
                        other,
                    );
                    continue;
                }
            };
            settings.push((name, text));
        }
        settings
    }

    /// Adds an error for every key that was never read.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !asked.contains(name) {
                let what = format!("unknown key; {}", suggest(name, "keys", asked.iter().copied()));
                self.reader.note(key.span().start, self.key(name), what);
            }
        }
    }
}

/// Returns the digits of an integer or a float.
fn digits<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    match value {
        DeValue::Integer(digits) => Some(digits.as_str()),
        DeValue::Float(digits) => Some(digits.as_str()),
        _ => None,
    }
}

/// Returns the error message for a `text` that is not one of `names`.
pub(crate) fn not_one_of<'n>(text: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    format!("unknown value `{text}`; {}", suggest(text, "values", names))
}

fn suggest<'n>(text: &str, kind: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let distance = |name: &&str| strsim::damerau_levenshtein(text, name);
    match names.clone().min_by_key(distance) {
        Some(near) if distance(&near) <= 1 + text.chars().count() / 3 => format!("did you mean `{near}`?"),
        _ => format!("valid {kind} are {}", names.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    }
}
