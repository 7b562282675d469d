//! `[[rule]]`: the rules of the monitor.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use lookout_schema::AlertLevel;
use thiserror::Error;

use crate::reader::Section;

/// One rule: which cameras or workers it applies to, its level, and the settings of its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSettings<R> {
    /// Name of the rule, which its alerts contain.
    pub name: String,
    /// The ids of the cameras or workers to which the rule applies.
    pub applies_to: Vec<Pattern>,
    /// The settings of its kind, as [`RuleReader::read`] returned them.
    pub kind: R,
    /// Level of the alerts.
    pub level: AlertLevel,
    /// The minimum time between two alerts of the rule for one camera or worker.
    pub cooldown: Duration,
}

/// What a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSubject {
    /// Cameras, in the key `cameras`.
    Camera,
    /// Workers, in the key `workers`.
    Worker,
}

impl RuleSubject {
    /// The key that lists the ids to which a rule applies.
    const fn key(self) -> &'static str {
        match self {
            Self::Camera => "cameras",
            Self::Worker => "workers",
        }
    }
}

/// Reads the rules of one kind. The monitor has one reader for each kind of rule.
pub trait RuleReader {
    /// The settings of a rule.
    type Rule;

    /// Returns the value of `kind` in `[[rule]]`.
    fn kind(&self) -> &'static str;

    /// Returns what the rules of this kind apply to.
    fn subject(&self) -> RuleSubject;

    /// Reads the keys of this kind. Returns `None` if a required key is missing or invalid; `section` holds the error.
    fn read(&self, section: &Section<'_, '_>) -> Option<Self::Rule>;
}

/// A pattern for ids, in which `*` matches any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// The error of a text that is not a valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` cannot match an id: use a-z, A-Z, 0-9, `.`, `_`, `-`, and `*` as wildcard")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Returns whether `id` matches the pattern as a whole.
    pub fn matches(&self, id: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == id };
        let Some(mut left) = id.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let Some(at) = left.find(part) else { return false };
            left = &left[at + part.len()..];
        }
        left.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            return Err(InvalidPattern(text.chars().take(80).collect()));
        }
        Ok(Self(text.into()))
    }
}

/// The maximum length of a rule's name, which is part of the ids of its alerts.
const MAX_NAME: usize = 64;
/// The maximum of the durations in a rule.
const DAY_S: f64 = 86_400.0;

impl<R> RuleSettings<R> {
    pub(super) fn read<K: RuleReader<Rule = R>>(
        section: Section<'_, '_>,
        readers: &[K],
        names: &mut BTreeSet<String>,
    ) -> Option<Self> {
        let kinds: Vec<_> = readers.iter().map(|reader| (reader.kind(), reader)).collect();
        section.need("name", "`name` is required: alerts contain it");
        let known: Vec<_> = kinds.iter().map(|(kind, _)| format!("`{kind}`")).collect();
        section.need("kind", format!("`kind` is required; valid values are {}", known.join(", ")));
        let name = section.text("name");
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let bad_name = |name: &String| name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain);
        if name.as_ref().is_some_and(bad_name) {
            section.note(
                "name",
                "a rule's name must have 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_`, `-`",
            );
        }
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            section.note("name", format!("another rule has the same name `{name}`"));
        }
        let levels = AlertLevel::ALL.map(|level| (level.as_str(), level));
        let level = section.choice("level", &levels).unwrap_or(AlertLevel::Warning);
        let cooldown = section.seconds("cooldown_s").unwrap_or_default();
        // The valid keys depend on the kind: without it, no key is reported as unknown.
        let reader = section.choice("kind", &kinds)?;
        let applies_to = patterns(&section, reader.subject().key());
        let kind = reader.read(&section);
        section.finish();
        Some(Self { name: name?, applies_to, kind: kind?, level, cooldown })
    }
}

impl Section<'_, '_> {
    /// Reads a duration in seconds, at most one day.
    pub fn seconds(&self, key: &'static str) -> Option<Duration> {
        self.number(key, 0.0..=DAY_S).map(Duration::from_secs_f64)
    }
}

/// Reads a list of patterns. Without the key, the rule applies to all.
fn patterns(section: &Section<'_, '_>, key: &'static str) -> Vec<Pattern> {
    let texts = section.texts(key).unwrap_or_else(|| vec!["*".into()]);
    if texts.is_empty() {
        section.note(key, "the list is empty, so the rule never applies; remove it to match all");
    }
    let pattern =
        |text: &String| text.parse().map_err(|error: InvalidPattern| section.note(key, error.to_string()));
    texts.iter().filter_map(|text| pattern(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_characters() {
        for (pattern, id, matches) in [
            ("*", "gate", true),
            ("gate", "gate", true),
            ("gate", "gate-1", false),
            ("gate-*", "gate-1", true),
            ("gate-*", "north-gate-1", false),
            ("*-gate", "north-gate", true),
            ("n*-g*e", "north-gate", true),
            ("n*x*e", "north-gate", false),
            ("ga*ate", "gate", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(id), matches, "{pattern} {id}");
        }
        assert!("a b".parse::<Pattern>().is_err() && "".parse::<Pattern>().is_err());
    }
}
