//! Wall-clock times on a steady time scale, such as a camera's RTP time or this process's monotonic clock.

/// Maps microseconds of a steady scale to microseconds since the Unix epoch.
///
/// The observed wall clock may drift against the scale, and may be stepped. The mapping follows small differences at
/// a bounded rate, so that times keep their order. A step replaces the mapping. The caller must then start a new
/// session, because times may decrease.
#[derive(Debug)]
pub(crate) struct WallClock {
    offset: i64,
    /// The offset at the last observation that agreed with the mapping.
    target: i64,
    /// The last time that was read, as steady and wall-clock time.
    last: Option<(i64, i64)>,
    doubt: Option<Doubt>,
}

/// Consistent observations that contradict the mapping.
#[derive(Debug)]
struct Doubt {
    offset: i64,
    steady: i64,
    count: u32,
}

/// How an observation relates to the mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    Agrees,
    /// The observation contradicts the mapping, and too few observations agree with it. It is ignored.
    Contradicts,
    /// The wall clock was stepped, and the mapping was replaced.
    Stepped,
}

/// Differences up to this are drift of the clock or jitter of the observation. In microseconds.
pub(crate) const MAX_DRIFT_US: i64 = 250_000;

/// The mapping gains or loses at most one part in this many of the elapsed time.
const MAX_SLEW: i64 = 20;

/// Two contradicting observations agree with each other if they differ by at most this plus 1/50 of the time between
/// them, limited to the second constant. In microseconds.
const AGREEMENT_US: i64 = 20_000;
const MAX_AGREEMENT_US: i64 = 200_000;

impl WallClock {
    pub(crate) fn new(steady: i64, wall: i64) -> Self {
        let offset = wall.saturating_sub(steady);
        Self { offset, target: offset, last: None, doubt: None }
    }

    /// Records that the wall clock showed `wall` at `steady`.
    ///
    /// A step is accepted once `confirmations` observations agree on it.
    pub(crate) fn observe(&mut self, steady: i64, wall: i64, confirmations: u32) -> Observed {
        let offset = wall.saturating_sub(steady);
        if difference(offset, self.offset) <= MAX_DRIFT_US {
            self.target = offset;
            self.doubt = None;
            return Observed::Agrees;
        }
        let count = match &self.doubt {
            Some(doubt) => {
                let between = difference(steady, doubt.steady);
                let agreement = (AGREEMENT_US + between / 50).min(MAX_AGREEMENT_US);
                if difference(offset, doubt.offset) <= agreement { doubt.count + 1 } else { 1 }
            }
            None => 1,
        };
        if count >= confirmations {
            *self = Self::new(steady, wall);
            return Observed::Stepped;
        }
        self.doubt = Some(Doubt { offset, steady, count });
        Observed::Contradicts
    }

    /// Returns the wall-clock time at `steady`, which is never earlier than the last returned one.
    pub(crate) fn read(&mut self, steady: i64) -> i64 {
        let wall = match self.last {
            None => {
                self.offset = self.target;
                steady.saturating_add(self.offset)
            }
            Some((last_steady, last_wall)) => {
                let slew = steady.saturating_sub(last_steady).max(0) / MAX_SLEW;
                self.offset += self.target.saturating_sub(self.offset).clamp(-slew, slew);
                // `steady` may decrease slightly if the timestamps of a stream are out of order.
                steady.saturating_add(self.offset).max(last_wall)
            }
        };
        let steady = self.last.map_or(steady, |(last, _)| last.max(steady));
        self.last = Some((steady, wall));
        wall
    }
}

fn difference(a: i64, b: i64) -> i64 {
    i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn follows_a_drifting_clock_without_steps() {
        // 1,000 ppm, observed every 5 s for 10 minutes, read 25 times per second.
        let mut clock = WallClock::new(0, 100 * S);
        let wall = |steady: i64| 100 * S + steady + steady / 1_000;
        for frame in 0..15_000 {
            let steady = frame * 40_000;
            if frame % 125 == 0 {
                assert_eq!(clock.observe(steady, wall(steady), 3), Observed::Agrees);
            }
            assert!((clock.read(steady) - wall(steady)).abs() <= 10_000, "at {steady}");
        }
    }

    #[test]
    fn accepts_a_step_when_several_observations_agree() {
        let mut clock = WallClock::new(0, 0);
        assert_eq!(clock.read(0), 0);
        assert_eq!(clock.observe(S, 301 * S, 3), Observed::Contradicts);
        assert_eq!(clock.read(S), S);
        assert_eq!(clock.observe(2 * S, 302 * S, 3), Observed::Contradicts);
        assert_eq!(clock.observe(3 * S, 303 * S, 3), Observed::Stepped);
        assert_eq!(clock.read(3 * S), 303 * S);
    }

    #[test]
    fn a_single_outlier_is_ignored() {
        let mut clock = WallClock::new(0, 0);
        for second in 1..20 {
            let wrong = if second % 3 == 0 { 2 * S } else { 0 };
            assert_ne!(clock.observe(second * S, second * S + wrong, 3), Observed::Stepped);
            assert_eq!(clock.read(second * S), second * S);
        }
    }

    proptest! {
        #[test]
        fn times_never_decrease_between_steps(
            events in prop::collection::vec((0i64..2 * S, prop::option::of(-3 * S..3 * S)), 1..300),
        ) {
            let (mut clock, mut steady, mut last) = (WallClock::new(0, 0), 0, i64::MIN);
            for (passed, error) in events {
                steady += passed;
                if let Some(error) = error
                    && clock.observe(steady, steady + error, 3) == Observed::Stepped
                {
                    last = i64::MIN;
                }
                let now = clock.read(steady);
                prop_assert!(now >= last);
                last = now;
            }
        }

        #[test]
        fn the_clock_rate_is_within_the_maximum_slew(
            errors in prop::collection::vec(-MAX_DRIFT_US / 2..MAX_DRIFT_US / 2, 2..100),
        ) {
            let mut clock = WallClock::new(0, 0);
            let mut last = clock.read(0);
            for (i, error) in errors.into_iter().enumerate() {
                let steady = (i as i64 + 1) * S;
                let _ = clock.observe(steady, steady + error, 3);
                let now = clock.read(steady);
                prop_assert!((now - last - S).abs() <= S / MAX_SLEW, "{}", now - last);
                last = now;
            }
        }

        #[test]
        fn extreme_numbers_do_not_panic(numbers in prop::collection::vec(any::<(i64, i64)>(), 1..20)) {
            let mut clock = WallClock::new(i64::MIN, i64::MAX);
            for (steady, wall) in numbers {
                let _ = clock.observe(steady, wall, 2);
                let _ = clock.read(steady);
            }
        }
    }
}
