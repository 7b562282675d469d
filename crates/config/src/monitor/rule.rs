//! `[[rule]]`: what is to be told.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use lookout_schema::{AlertLevel, LineDirection};
use thiserror::Error;

use crate::reader::Section;

/// What is to be told, of which cameras or workers.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSettings {
    /// Name of the rule, which its alerts contain.
    pub name: String,
    /// Of a rule over workers: the workers.
    pub of: Vec<Pattern>,
    /// The condition.
    pub kind: RuleKind,
    /// Level of the alerts.
    pub level: AlertLevel,
    /// After it was told of a camera, it is not told of that camera again for so long.
    pub cooldown: Duration,
}

/// The kinds of rules.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// More than `over` objects are in `zone`, or in the picture, for `holds`.
    Count {
        /// Name of the zone; `None` for the whole image.
        zone: Option<String>,
        /// Labels of the objects that count; empty for all.
        labels: Vec<String>,
        /// The highest number that raises no alert.
        over: u64,
        /// How long the condition must hold.
        holds: Duration,
    },
    /// An object crosses `line`, or any of the camera's.
    Line {
        /// Name of the line; `None` for all lines of the camera.
        line: Option<String>,
        /// The direction of crossings; `None` for both.
        direction: Option<LineDirection>,
        /// Labels of the objects that count; empty for all.
        labels: Vec<String>,
    },
    /// An object is in `zone`, or any of the camera's, for `holds`.
    Dwell {
        /// Name of the zone; `None` for all zones of the camera.
        zone: Option<String>,
        /// Labels of the objects that count; empty for all.
        labels: Vec<String>,
        /// How long an object must be in the zone.
        holds: Duration,
    },
    /// A camera gives no frames for `holds`.
    CameraDown {
        /// How long the condition must hold.
        holds: Duration,
    },
    /// A worker says nothing for `holds`.
    WorkerDown {
        /// How long the condition must hold.
        holds: Duration,
    },
    /// A camera's records are older than `budget` for `holds`.
    Latency {
        /// Highest age of a record that raises no alert.
        budget: Duration,
        /// How long the condition must hold.
        holds: Duration,
    },
}

/// An id, in which `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is no pattern.
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

/// A rule's name stands in alerts' ids.
const MAX_NAME: usize = 64;
/// The longest time that a rule may wait.
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
        // Which keys there may be depends on it: without it none of them is a mistake.
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
                section.need("over", "`over` is required: more objects than this raise an alert");
                let (zone, labels, holds) = (section.text("zone"), labels(), holds(0));
                RuleKind::Count { zone, labels, over: section.integer("over", 0..=10_000)?, holds }
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

/// All, where nothing is said.
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
