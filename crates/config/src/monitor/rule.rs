//! `[[rule]]`: conditions that raise alerts.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use lookout_schema::{AlertLevel, LineDirection};
use thiserror::Error;

use crate::reader::Section;

/// A condition that raises alerts, and the cameras or workers that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSettings {
    pub name: String,
    /// The cameras that the rule applies to, or the workers for a rule about workers.
    pub of: Vec<Pattern>,
    pub kind: RuleKind,
    pub level: AlertLevel,
    /// Minimum time between two alerts of the rule for the same camera or worker.
    pub cooldown: Duration,
}

/// The kinds of rules. `holds` is how long the condition must hold before an alert is raised.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// More than `threshold` objects are in `zone`, or in the image if `zone` is `None`.
    Count { zone: Option<String>, labels: Vec<String>, threshold: u64, holds: Duration },
    /// An object crosses `line`, or any line of the camera if `line` is `None`.
    Line { line: Option<String>, direction: Option<LineDirection>, labels: Vec<String> },
    /// An object stays in `zone`, or in any zone of the camera if `zone` is `None`.
    Dwell { zone: Option<String>, labels: Vec<String>, holds: Duration },
    /// A camera delivers no frames.
    CameraDown { holds: Duration },
    /// No status records are received from a worker.
    WorkerDown { holds: Duration },
    /// A camera's records are older than `budget`.
    Latency { budget: Duration, holds: Duration },
}

/// A pattern for ids, in which `*` matches any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// The error of a text that is not a valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` cannot match an id: use a-z, A-Z, 0-9, `.`, `_`, `-`, and `*` as wildcard")]
pub struct InvalidPattern(String);

impl Pattern {
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

/// Maximum length of a rule's name, which is a part of the ids of its alerts.
const MAX_NAME: usize = 64;
/// Maximum of `for_s` and `cooldown_s`: one day.
const DAY_S: f64 = 86_400.0;

impl RuleSettings {
    pub(super) fn read(section: Section<'_, '_>, names: &mut BTreeSet<String>) -> Option<Self> {
        section.need("name", "`name` is required: alerts contain it");
        section.need(
            "kind",
            "`kind` is required: `count`, `line`, `dwell`, `camera_down`, `worker_down` or `latency`",
        );
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
        let cooldown = seconds(&section, "cooldown_s").unwrap_or_default();
        // The valid keys depend on the kind, so without a kind they are not checked.
        let kind = section.choice("kind", &KINDS)?;
        let of = patterns(&section, if matches!(kind, Kind::WorkerDown) { "workers" } else { "cameras" });
        let kind = kind.read(&section);
        section.finish();
        Some(Self { name: name?, of, kind: kind?, level, cooldown })
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Count,
    Line,
    Dwell,
    CameraDown,
    WorkerDown,
    Latency,
}

const KINDS: [(&str, Kind); 6] = [
    ("count", Kind::Count),
    ("line", Kind::Line),
    ("dwell", Kind::Dwell),
    ("camera_down", Kind::CameraDown),
    ("worker_down", Kind::WorkerDown),
    ("latency", Kind::Latency),
];

const DIRECTIONS: [(&str, LineDirection); 2] =
    [("left_to_right", LineDirection::LeftToRight), ("right_to_left", LineDirection::RightToLeft)];

impl Kind {
    fn read(self, section: &Section<'_, '_>) -> Option<RuleKind> {
        let labels = || section.texts("labels").unwrap_or_default();
        let holds = |default| seconds(section, "for_s").unwrap_or(Duration::from_secs(default));
        Some(match self {
            Self::Count => {
                section.need("threshold", "`threshold` is required: more objects than this raise an alert");
                let (zone, labels, holds) = (section.text("zone"), labels(), holds(0));
                RuleKind::Count { zone, labels, threshold: section.integer("threshold", 0..=10_000)?, holds }
            }
            Self::Line => RuleKind::Line {
                line: section.text("line"),
                direction: section.choice("direction", &DIRECTIONS),
                labels: labels(),
            },
            Self::Dwell => {
                section.need("for_s", "`for_s` is required: an object that stays longer raises an alert");
                RuleKind::Dwell { zone: section.text("zone"), labels: labels(), holds: holds(0) }
            }
            Self::CameraDown => RuleKind::CameraDown { holds: holds(30) },
            Self::WorkerDown => RuleKind::WorkerDown { holds: holds(30) },
            Self::Latency => {
                section.need("budget_ms", "`budget_ms` is required: the maximum age of records");
                let holds = holds(10);
                RuleKind::Latency { budget: section.millis("budget_ms", 1..=3_600_000)?, holds }
            }
        })
    }
}

fn seconds(section: &Section<'_, '_>, key: &'static str) -> Option<Duration> {
    section.number(key, 0.0..=DAY_S).map(Duration::from_secs_f64)
}

/// Returns a pattern that matches every id if `key` is absent.
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
