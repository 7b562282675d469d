//! Decides how many frames an overloaded worker skips (load shedding). Pure: time is an argument.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The load of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Age of the live cameras' last records, at the 90th percentile.
    pub(crate) age: Option<Duration>,
    /// Fraction of the live frames that were dropped because the device was busy, 0 to 1.
    pub(crate) late: f64,
}

/// Decides the level of load shedding. Each level lowers the frame rate of one priority, the lowest first, to a half, a
/// quarter and then an eighth.
#[derive(Debug)]
pub(crate) struct Shedder {
    budget: Duration,
    level: u32,
    /// Since when the load has been over the budget without a change of level.
    over: Option<Instant>,
    /// Since when the load has been well below the budget.
    well: Option<Instant>,
    /// How long the load has to be well below the budget before the level is lowered.
    hold: Duration,
    eased: Option<Instant>,
}

/// The time after which a change of level shows its effect.
const STEP_EVERY: Duration = Duration::from_secs(2);
/// How long the load has to be well below the budget before the level is lowered: initially, and at most. Each lowering
/// that had to be reverted doubles it.
const HOLD: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(160));
/// Number of levels per priority.
const STEPS: u32 = 3;
/// Fractions of late frames: above the first, the worker is overloaded; below the second, it is well below its budget.
const LATE: (f64, f64) = (0.2, 0.02);

impl Shedder {
    pub(crate) fn new(budget: Duration) -> Self {
        Self { budget, level: 0, over: None, well: None, hold: HOLD.0, eased: None }
    }

    /// Returns the level from now on; at 0, no frame is skipped.
    pub(crate) fn decide(&mut self, now: Instant, load: Load, priorities: usize) -> u32 {
        let age = load.age.unwrap_or_default();
        let over = age > self.budget || load.late > LATE.0;
        let well = age < self.budget * 7 / 10 && load.late < LATE.1;
        let since = |since: Option<Instant>, holds: bool| holds.then(|| since.unwrap_or(now));
        (self.over, self.well) = (since(self.over, over), since(self.well, well));
        let lasts = |since: Option<Instant>, least| since.is_some_and(|since| now - since >= least);
        let highest = STEPS * u32::try_from(priorities).unwrap_or(u32::MAX / STEPS);
        if lasts(self.over, STEP_EVERY) && self.level < highest {
            if self.eased.is_some_and(|eased| now - eased < self.hold * 2) {
                self.hold = HOLD.1.min(self.hold * 2);
            }
            self.level += 1;
            self.over = Some(now);
        } else if lasts(self.well, self.hold) {
            if self.level == 0 {
                self.hold = HOLD.0;
            } else {
                self.level -= 1;
                self.eased = Some(now);
            }
            self.well = Some(now);
        }
        self.level = self.level.min(highest);
        self.level
    }
}

/// Returns the frame-skip interval for a camera of `priority`: one frame in N is processed.
pub(crate) fn frame_skip(level: u32, priorities: &BTreeSet<u8>, priority: u8) -> u32 {
    let below = priorities.range(..priority).count();
    let taken = STEPS * u32::try_from(below).unwrap_or(u32::MAX / STEPS);
    1 << level.saturating_sub(taken).min(STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Load = Load { age: Some(Duration::from_millis(400)), late: 0.0 };
    const LATE_FRAMES: Load = Load { age: Some(Duration::from_millis(100)), late: 0.5 };
    const BETWEEN: Load = Load { age: Some(Duration::from_millis(250)), late: 0.0 };
    const WELL: Load = Load { age: Some(Duration::from_millis(100)), late: 0.0 };

    /// Returns the level after `seconds`, with half a second between decisions.
    fn after(shedder: &mut Shedder, now: &mut Instant, seconds: u64, load: Load) -> u32 {
        let mut level = 0;
        for _ in 0..seconds * 2 {
            *now += Duration::from_millis(500);
            level = shedder.decide(*now, load, 2);
        }
        level
    }

    #[test]
    fn sheds_load_step_by_step_and_recovers_slowly() {
        let (mut shedder, mut now) = (Shedder::new(Duration::from_millis(300)), Instant::now());
        assert_eq!(after(&mut shedder, &mut now, 20, BETWEEN), 0);
        assert_eq!(after(&mut shedder, &mut now, 2, OVER), 0, "a short overload is tolerated");
        assert_eq!(after(&mut shedder, &mut now, 1, OVER), 1);
        assert_eq!(after(&mut shedder, &mut now, 2, LATE_FRAMES), 2, "late frames count as overload");
        assert_eq!(
            after(&mut shedder, &mut now, 60, BETWEEN),
            2,
            "the level stays between the two thresholds"
        );
        assert_eq!(after(&mut shedder, &mut now, 11, WELL), 1);
        assert_eq!(after(&mut shedder, &mut now, 10, WELL), 0);
    }

    #[test]
    fn recovery_is_slower_after_one_that_was_too_early() {
        let (mut shedder, mut now) = (Shedder::new(Duration::from_millis(300)), Instant::now());
        after(&mut shedder, &mut now, 3, OVER);
        assert_eq!(after(&mut shedder, &mut now, 11, WELL), 0);
        assert_eq!(after(&mut shedder, &mut now, 3, OVER), 1);
        assert_eq!(after(&mut shedder, &mut now, 15, WELL), 1);
        assert_eq!(after(&mut shedder, &mut now, 6, WELL), 0);
    }

    #[test]
    fn the_level_has_a_maximum() {
        let (mut shedder, mut now) = (Shedder::new(Duration::from_millis(300)), Instant::now());
        assert_eq!(after(&mut shedder, &mut now, 100, OVER), 6);
        assert_eq!(shedder.decide(now, OVER, 1), 3, "fewer priorities have fewer steps");
    }

    #[test]
    fn the_lowest_priority_is_shed_first() {
        let priorities = BTreeSet::from([20, 50, 80]);
        let levels = |level| [20, 50, 80].map(|priority| frame_skip(level, &priorities, priority));
        assert_eq!(levels(0), [1, 1, 1]);
        assert_eq!(levels(1), [2, 1, 1]);
        assert_eq!(levels(4), [8, 2, 1]);
        assert_eq!(levels(9), [8, 8, 8]);
    }
}
