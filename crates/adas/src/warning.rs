//! The warning level of an object: raised at once when the estimate is certain, with hysteresis against
//! repeated alerts when it is not.

use lookout_config::LevelSettings;
use lookout_schema::AlertLevel;
use lookout_track::TtcEstimate;

use crate::linear_estimate::normal;

/// A level is raised if, with at least these probabilities, the time to collision is below its threshold and
/// the object is in path.
const RAISE_SOON: f64 = 0.85;
const RAISE_IN_PATH: f64 = 0.9;
/// The number of consecutive boxes that must call for a level before it is raised.
const RAISE_BOXES: u32 = 2;
/// The minimum observation time and number of boxes before an object can raise a level.
const MIN_WATCHED_S: f64 = 0.5;
const MIN_BOXES: u32 = 5;

/// A level falls once the time to collision exceeds `FALL_FACTOR` times its threshold, or the probability of
/// being in path is below `FALL_IN_PATH`, for `FALL_AFTER_S` seconds.
const FALL_FACTOR: f64 = 1.3;
const FALL_IN_PATH: f64 = 0.4;
const FALL_AFTER_S: f64 = 0.5;

/// The threat estimate of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Threat {
    pub(crate) closing: TtcEstimate,
    /// The probability that the object is in the vehicle's path at the time of collision.
    pub(crate) in_path: f64,
    /// The number of boxes that the estimate is based on.
    pub(crate) boxes: u32,
    /// The age of the estimate in seconds.
    pub(crate) age_s: f64,
}

/// The warning level of one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Warning {
    level: Option<AlertLevel>,
    /// The higher level called for by the last boxes, and the number of those boxes.
    rising: Option<(AlertLevel, u32)>,
    /// Since when a lower level is called for, in seconds of the session.
    falling_since: Option<f64>,
}

impl Threat {
    /// Returns the probability that the collision is less than `seconds` from now.
    fn within(&self, seconds: f64) -> f64 {
        let rate = 1.0 / (seconds + self.age_s);
        normal((self.closing.rate - rate) / self.closing.rate_std.max(f64::MIN_POSITIVE))
    }

    /// Returns the level that the estimate calls for.
    fn calls_for(&self, levels: &LevelSettings) -> Option<AlertLevel> {
        let watched = self.closing.observed_s >= MIN_WATCHED_S && self.boxes >= MIN_BOXES;
        if !watched || self.in_path < RAISE_IN_PATH {
            return None;
        }
        highest(levels, |seconds| self.within(seconds) >= RAISE_SOON)
    }

    /// Returns the highest level that the estimate sustains.
    fn keeps(&self, levels: &LevelSettings) -> Option<AlertLevel> {
        if self.in_path < FALL_IN_PATH {
            return None;
        }
        highest(levels, |seconds| {
            self.closing.ttc_s.is_some_and(|ttc| ttc - self.age_s <= FALL_FACTOR * seconds)
        })
    }
}

fn highest(levels: &LevelSettings, holds: impl Fn(f64) -> bool) -> Option<AlertLevel> {
    let each = [
        (AlertLevel::Critical, Some(levels.critical_ttc_s)),
        (AlertLevel::Warning, Some(levels.warn_ttc_s)),
        (AlertLevel::Info, levels.info_ttc_s),
    ];
    each.into_iter().find(|(_, seconds)| seconds.is_some_and(&holds)).map(|(level, _)| level)
}

impl Warning {
    pub(crate) fn level(&self) -> Option<AlertLevel> {
        self.level
    }

    /// Updates the level with the estimate as of `at_s` seconds of the session, and returns it.
    pub(crate) fn step(&mut self, at_s: f64, danger: &Threat, levels: &LevelSettings) -> Option<AlertLevel> {
        let wanted = danger.calls_for(levels);
        if let Some(wanted) = wanted.filter(|wanted| Some(*wanted) > self.level) {
            // If two boxes call for different levels, only the lower one is certain.
            let (sure, boxes) =
                self.rising.map_or((wanted, 1), |(level, boxes)| (level.min(wanted), boxes + 1));
            self.rising = Some((wanted, boxes));
            self.falling_since = None;
            if boxes >= RAISE_BOXES && Some(sure) > self.level {
                self.level = Some(sure);
                self.rising = Some((wanted, 1)).filter(|(level, _)| *level > sure);
            }
            return self.level;
        }
        self.rising = None;
        let kept = danger.keeps(levels).max(wanted);
        if kept >= self.level {
            self.falling_since = None;
        } else if at_s - *self.falling_since.get_or_insert(at_s) >= FALL_AFTER_S {
            self.level = kept;
            self.falling_since = None;
        }
        self.level
    }

    /// Resets the level.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn danger(ttc_s: f64, in_path: f64) -> Threat {
        let rate = 1.0 / ttc_s;
        let closing = TtcEstimate { ttc_s: Some(ttc_s), rate, rate_std: 0.01, observed_s: 2.0 };
        Threat { closing, in_path, boxes: 20, age_s: 0.0 }
    }

    fn levels(times: &[(f64, f64)]) -> Vec<&'static str> {
        let mut warning = Warning::default();
        let step = |(i, (ttc, in_path)): (usize, &(f64, f64))| {
            let level = warning.step(i as f64 / 10.0, &danger(*ttc, *in_path), &LevelSettings::default());
            level.map_or("none", AlertLevel::as_str)
        };
        times.iter().enumerate().map(step).collect()
    }

    #[test]
    fn raises_after_two_boxes_and_falls_after_a_delay() {
        let warned = levels(&[(4.0, 1.0), (2.5, 1.0), (2.4, 1.0), (1.2, 1.0), (1.1, 1.0)]);
        assert_eq!(warned, ["none", "none", "warning", "warning", "critical"]);
        // The time to collision alternates around the threshold, and the object is out of path once.
        let mut swaying: Vec<(f64, f64)> =
            (0..40).map(|i| (if i % 4 < 2 { 2.4 } else { 3.2 }, 1.0)).collect();
        swaying[20].1 = 0.1;
        let warned = levels(&swaying);
        assert!(warned[1..].iter().all(|level| *level == "warning"), "{warned:?}");
        let mut passed = vec![(2.0, 1.0); 5];
        passed.extend([(2.0, 0.1); 10]);
        let warned = levels(&passed);
        assert_eq!((warned[9], warned[10]), ("warning", "none"));
        let mut braked = vec![(1.2, 1.0); 5];
        braked.extend([(3.0, 1.0); 10]);
        braked.extend([(9.0, 1.0); 10]);
        let warned = levels(&braked);
        assert_eq!((warned[4], warned[12], warned[24]), ("critical", "warning", "none"));
    }

    #[test]
    fn uncertain_estimates_raise_no_level() {
        let mut warning = Warning::default();
        let sure = danger(1.0, 1.0);
        let unsure = TtcEstimate { rate_std: 0.9, ..sure.closing };
        let brief = TtcEstimate { observed_s: 0.3, ..sure.closing };
        let dangers = [
            Threat { closing: unsure, ..sure },
            Threat { closing: brief, ..sure },
            Threat { boxes: 4, ..sure },
            Threat { in_path: 0.6, ..sure },
        ];
        for (i, danger) in dangers.iter().cycle().take(40).enumerate() {
            assert_eq!(warning.step(i as f64 / 10.0, danger, &LevelSettings::default()), None);
        }
    }

    #[test]
    fn record_age_is_subtracted_from_the_time_to_collision() {
        let levels = LevelSettings::default();
        let (mut at_once, mut late) = (Warning::default(), Warning::default());
        for i in 0..5 {
            let danger = danger(2.85, 1.0);
            at_once.step(f64::from(i) / 10.0, &danger, &levels);
            late.step(f64::from(i) / 10.0, &Threat { age_s: 0.3, ..danger }, &levels);
        }
        assert_eq!((at_once.level(), late.level()), (None, Some(AlertLevel::Warning)));
    }
}
