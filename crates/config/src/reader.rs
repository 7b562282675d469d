//! Reads a TOML table key by key and notes every mistake, where serde would stop at the first.

mod arrays;

use std::{
    cell::RefCell, collections::BTreeSet, fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    expand::{Env, Piece, expand, join},
    mistake::Mistake,
};

/// The file being read, and the mistakes found so far.
pub(crate) struct Reader<'a> {
    text: &'a str,
    env: Env<'a>,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, env: Env<'a>) -> Self {
        Self { text, env, mistakes: RefCell::default() }
    }

    /// Notes a mistake at a byte of the file.
    pub(crate) fn note(&self, at: usize, key: impl Into<String>, what: impl Into<String>) {
        let line = 1 + self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
        self.mistakes.borrow_mut().push(Mistake { line, key: key.into(), what: what.into() });
    }

    /// The mistakes, by line.
    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }
}

/// A table of the file. Keys that nobody asked for are mistakes; see [`Section::finish`].
pub(crate) struct Section<'r, 'a> {
    reader: &'r Reader<'a>,
    path: String,
    at: usize,
    table: Option<&'r DeTable<'a>>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'r, 'a> Section<'r, 'a> {
    pub(crate) fn root(reader: &'r Reader<'a>, table: &'r DeTable<'a>) -> Self {
        Self::new(reader, String::new(), 0, Some(table))
    }

    fn new(reader: &'r Reader<'a>, path: String, at: usize, table: Option<&'r DeTable<'a>>) -> Self {
        Self { reader, path, at, table, asked: RefCell::default() }
    }

    /// Notes that `key` is wrong.
    pub(crate) fn note(&self, key: &str, what: impl Into<String>) {
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

    /// Whether `key` is there, whatever it is.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Notes that `key` is needed where it is not there at all.
    pub(crate) fn need(&self, key: &str, what: impl Into<String>) {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.note(key, what);
        }
    }

    fn wrong_type(&self, key: &str, want: &str, got: &DeValue<'_>) {
        self.note(key, format!("expected {want}, found a TOML {}", got.type_str()));
    }

    /// A table; an absent one reads as empty.
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

    /// A table that may be left out.
    pub(crate) fn optional_section(&self, key: &'static str) -> Option<Section<'r, 'a>> {
        let section = self.section(key);
        section.table.is_some().then_some(section)
    }

    /// An array of tables, `[[key]]`; none where it is absent or something else.
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

    /// A text, its variables told apart.
    pub(crate) fn pieces(&self, key: &'static str) -> Option<Vec<Piece>> {
        let value = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(key, "a string in quotes", value.get_ref());
            return None;
        };
        expand(text, self.reader.env).map_err(|what| self.note(key, what)).ok()
    }

    /// A text with its variables put in.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.pieces(key).map(join)
    }

    /// A text that another type reads.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        self.text(key)?.parse().map_err(|error: T::Err| self.note(key, error.to_string())).ok()
    }

    /// One of some names.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            self.note(key, not_one_of(&text, names));
        }
        found
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        if let DeValue::Boolean(b) = value.get_ref() {
            return Some(*b);
        }
        self.wrong_type(key, "true or false", value.get_ref());
        None
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
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

    /// A number within `range`.
    pub(crate) fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
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

    /// Where something is served.
    pub(crate) fn address(&self, key: &'static str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let address = text.parse();
        if address.is_err() {
            self.note(key, format!("`{text}` is not a valid address; use IP:PORT, such as `127.0.0.1:9600`"));
        }
        address.ok()
    }

    /// A time in milliseconds within `range`.
    pub(crate) fn millis(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.integer(key, range).map(Duration::from_millis)
    }

    /// Every key of this table with its value as text, for settings that are passed on as they are.
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

    /// Notes the keys that nobody asked for.
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

/// The digits of a number, whole or not.
fn digits<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    match value {
        DeValue::Integer(digits) => Some(digits.as_str()),
        DeValue::Float(digits) => Some(digits.as_str()),
        _ => None,
    }
}

/// Says that `text` is none of `names`.
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
