//! Chooses the size of the network's input on this machine. Pure: time is an argument.
//!
//! A device that is too slow for its cameras drops frames, and its records are late. If the pipeline allows smaller
//! inputs, the worker uses the largest one that the device can process at the cameras' rates.

use std::{
    fmt,
    time::{Duration, Instant},
};

use lookout_schema::Size;

/// The worker's totals since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Totals {
    /// Live frames that became records.
    pub(crate) published: u64,
    /// Live frames that were dropped because the device was busy.
    pub(crate) late: u64,
    /// Frames that the device has processed.
    pub(crate) frames: u64,
    /// The device's busy time for these frames.
    pub(crate) busy: Duration,
}

/// Chooses among the inputs that a pipeline allows.
#[derive(Debug)]
pub(crate) struct InputChoice {
    /// Sorted with the largest first.
    sizes: Vec<Size>,
    at: usize,
    /// The start of the current measurement window, and the totals at that time.
    window: Option<(Instant, Totals)>,
    /// The total of processed frames at which the last frames of the previous input size are done.
    settled: u64,
    /// Number of consecutive windows in which the device was too slow.
    strikes: u32,
    /// Since when the device has been fast enough.
    well: Option<Instant>,
    /// How long the device has to be fast enough before a larger input is tried.
    hold: Duration,
    /// When a larger input was last tried.
    tried: Option<Instant>,
    /// Whether it was reported that even the smallest input is too large.
    overload_logged: bool,
}

/// The measured performance of the device, and the resulting decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// The input size of the measurement.
    pub(crate) measured: Size,
    /// Frames per second that the device processes at this size.
    pub(crate) capacity: f64,
    /// Frames per second that the live cameras send.
    pub(crate) demand: f64,
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Use this input from now on.
    Take(Size),
    /// The device is overloaded, and there is no smaller input.
    Overloaded,
}

/// Minimum length of a window, which also holds at least one frame.
const WINDOW: Duration = Duration::from_secs(3);
/// Limits of the fraction of live frames that are late. Above the first in two consecutive windows, or above the second
/// in one, the device is too slow.
const LATE: (f64, f64) = (0.2, 0.5);
/// Below this fraction of late frames, the device is fast enough.
const FEW_LATE: f64 = 0.02;
/// How long a device has to be fast enough before a larger input is tried: initially, and at most. Each failed try
/// doubles it.
const HOLD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1920));
/// A larger input is tried if the device would be busy for less than this fraction of the time.
const BUSY: f64 = 0.8;
/// An input may have this many times the pixels that the measurement suggests, because small inputs also cost less
/// outside the network.
const SLACK: f64 = 1.15;

impl InputChoice {
    pub(crate) fn new(sizes: Vec<Size>) -> Self {
        Self {
            sizes,
            at: 0,
            window: None,
            settled: 0,
            strikes: 0,
            well: None,
            hold: HOLD.0,
            tried: None,
            overload_logged: false,
        }
    }

    /// Returns whether there is a smaller input.
    pub(crate) fn has_smaller(&self) -> bool {
        self.at + 1 < self.sizes.len()
    }

    /// Decides at `now`; must be called about twice per second once the network is loaded. `waiting` is the maximum
    /// number of frames on their way to the device.
    pub(crate) fn look(&mut self, now: Instant, totals: Totals, waiting: u64) -> Option<Verdict> {
        let verdict = self.decide(now, totals);
        if let Some(Verdict { then: Then::Take(_), .. }) = verdict {
            (self.window, self.settled) = (None, totals.frames + waiting);
        }
        verdict
    }

    fn decide(&mut self, now: Instant, totals: Totals) -> Option<Verdict> {
        if totals.frames < self.settled {
            return None;
        }
        let Some((since, before)) = self.window else {
            self.window = Some((now, totals));
            return None;
        };
        let elapsed = now.saturating_duration_since(since);
        let new = totals.since(before);
        // Without a record there is no measurement, regardless of the number of late frames.
        if elapsed < WINDOW || new.frames == 0 || new.published == 0 {
            return None;
        }
        self.window = Some((now, totals));
        let asked = (new.published + new.late) as f64;
        let late = new.late as f64 / asked;
        self.strikes = if late > LATE.0 { self.strikes + 1 } else { 0 };
        let demand = asked / elapsed.as_secs_f64();
        let capacity = new.frames as f64 / new.busy.as_secs_f64().max(f64::EPSILON);
        let verdict = |measured, then| Verdict { measured, capacity, demand, then };
        let measured = *self.sizes.get(self.at)?;
        if self.strikes >= 2 || late > LATE.1 {
            self.well = None;
            return self.step_down(now, new.published as f64 / asked).map(|then| verdict(measured, then));
        }
        if late >= FEW_LATE {
            self.well = None;
            return None;
        }
        self.overload_logged = false;
        let well = *self.well.get_or_insert(now);
        let busy = new.busy.as_secs_f64() / elapsed.as_secs_f64();
        let larger = self.at.checked_sub(1).and_then(|at| self.sizes.get(at)).copied()?;
        let fits = busy * pixels(larger) / pixels(measured) < BUSY;
        if !fits || now.saturating_duration_since(well) < self.hold {
            return None;
        }
        (self.at, self.well, self.tried) = (self.at - 1, None, Some(now));
        Some(verdict(measured, Then::Take(larger)))
    }

    /// Selects the largest input with which a device that processed `part` of the frames can process all of them.
    fn step_down(&mut self, now: Instant, part: f64) -> Option<Then> {
        self.strikes = 0;
        if self.tried.take().is_some_and(|tried| now.saturating_duration_since(tried) < self.hold * 2) {
            self.hold = HOLD.1.min(self.hold * 2);
        }
        let room = pixels(*self.sizes.get(self.at)?) * part * SLACK;
        let smaller = self.sizes.get(self.at + 1..).unwrap_or_default();
        if smaller.is_empty() {
            return (!std::mem::replace(&mut self.overload_logged, true)).then_some(Then::Overloaded);
        }
        let fits = smaller.iter().position(|size| pixels(*size) <= room);
        self.at += 1 + fits.unwrap_or(smaller.len() - 1);
        self.sizes.get(self.at).map(|size| Then::Take(*size))
    }
}

impl Totals {
    fn since(self, before: Self) -> Self {
        Self {
            // The counts of removed cameras are no longer in the totals.
            published: self.published.saturating_sub(before.published),
            late: self.late.saturating_sub(before.late),
            frames: self.frames.saturating_sub(before.frames),
            busy: self.busy.saturating_sub(before.busy),
        }
    }
}

fn pixels(size: Size) -> f64 {
    f64::from(size.width) * f64::from(size.height)
}

impl Verdict {
    /// Logs the measured performance of the machine with `network`, and the decision.
    pub(crate) fn log(&self, network: &str, cameras: usize) {
        let Self { measured, capacity, demand, then } = self;
        let can = format!(
            "{network} processes {capacity:.1} frames/s at {measured} on this machine, and the live cameras send \
             {demand:.1}",
            measured = Shown(*measured),
        );
        match then {
            Then::Take(input) if pixels(*input) < pixels(*measured) => {
                tracing::warn!("{can}: the network's input is reduced to {}", Shown(*input));
            }
            Then::Take(input) => {
                tracing::info!("{can}: the network's input is enlarged to {}", Shown(*input));
            }
            Then::Overloaded => {
                let each = capacity / (cameras.max(1) as f64);
                tracing::warn!(
                    "{can}: each of {cameras} cameras publishes about {each:.2} records/s; lower `fps`, set \
                     `smaller_inputs`, or use a smaller network or fewer cameras"
                );
            }
        }
    }
}

struct Shown(Size);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.0.width, self.0.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Size = Size { width: 640, height: 384 };
    const MIDDLE: Size = Size { width: 512, height: 288 };
    const SMALL: Size = Size { width: 320, height: 192 };

    /// A device that processes `capacity` frames/s at `LARGE`, in proportion to the pixels, and cameras that send
    /// `demand` frames/s; checked twice per second.
    struct Machine {
        capacity: f64,
        demand: f64,
        input: Size,
        now: Instant,
        done: f64,
        asked: f64,
        totals: Totals,
    }

    impl Machine {
        fn new(capacity: f64, demand: f64) -> Self {
            let totals = Totals::default();
            Self { capacity, demand, input: LARGE, now: Instant::now(), done: 0.0, asked: 0.0, totals }
        }

        /// Returns the verdicts of `seconds`, each with the second in which it was made.
        fn run(&mut self, choice: &mut InputChoice, seconds: u64) -> Vec<(f64, Then)> {
            let start = self.now;
            let mut verdicts = Vec::new();
            for _ in 0..seconds * 2 {
                self.now += Duration::from_millis(500);
                let capacity = self.capacity * pixels(LARGE) / pixels(self.input);
                self.asked += self.demand / 2.0;
                self.done += capacity.min(self.demand) / 2.0;
                let busy = Duration::from_secs_f64(0.5 * (self.demand / capacity).min(1.0));
                let done = self.done.floor() as u64;
                self.totals = Totals {
                    published: done,
                    late: (self.asked - self.done).floor() as u64,
                    frames: done,
                    busy: self.totals.busy + busy,
                };
                if let Some(verdict) = choice.look(self.now, self.totals, 1) {
                    if let Then::Take(size) = verdict.then {
                        self.input = size;
                    }
                    verdicts.push(((self.now - start).as_secs_f64(), verdict.then));
                }
            }
            verdicts
        }
    }

    fn choice() -> InputChoice {
        InputChoice::new(vec![LARGE, MIDDLE, SMALL])
    }

    #[test]
    fn a_fast_device_keeps_the_largest_input() {
        assert_eq!(Machine::new(7.2, 7.0).run(&mut choice(), 600), []);
    }

    #[test]
    fn a_slow_device_gets_the_largest_input_that_it_can_process_in_time() {
        let verdicts = Machine::new(5.0, 7.0).run(&mut choice(), 300);
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        assert!(verdicts[0].0 <= 10.0 && verdicts[0].1 == Then::Take(MIDDLE), "{verdicts:?}");
        let verdicts = Machine::new(2.0, 7.0).run(&mut choice(), 300);
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        assert!(verdicts[0].0 <= 5.0 && verdicts[0].1 == Then::Take(SMALL), "{verdicts:?}");
    }

    #[test]
    fn a_very_slow_device_is_detected_at_its_first_record() {
        // One frame takes 8 s.
        let verdicts = Machine::new(0.125, 7.0).run(&mut choice(), 60);
        assert!(verdicts[0].0 <= 9.0 && verdicts[0].1 == Then::Take(SMALL), "{verdicts:?}");
        assert_eq!(verdicts[1].1, Then::Overloaded, "the smallest input is reported as too slow as well");
        assert_eq!(verdicts.len(), 2, "the overload is reported once");
    }

    #[test]
    fn a_larger_input_is_tried_when_the_device_has_spare_time_and_less_often_after_a_failure() {
        let (mut choice, mut machine) = (choice(), Machine::new(2.0, 7.0));
        machine.run(&mut choice, 30);
        assert_eq!(machine.input, SMALL);
        machine.capacity = 20.0;
        let verdicts = machine.run(&mut choice, 300);
        let taken: Vec<_> = verdicts.iter().map(|(_, then)| *then).collect();
        assert_eq!(taken, [Then::Take(MIDDLE), Then::Take(LARGE)]);
        // The device has been fast enough since some second of the first 30.
        assert!(30.0 + verdicts[0].0 >= 60.0, "{verdicts:?}");
        // The device is too slow again: the input steps down at once, and the next try comes later.
        machine.capacity = 5.0;
        assert_eq!(machine.run(&mut choice, 30).len(), 1);
    }

    #[test]
    fn a_few_seconds_of_late_frames_keep_the_input_size() {
        let (mut choice, mut machine) = (choice(), Machine::new(5.0, 4.0));
        machine.run(&mut choice, 30);
        machine.capacity = 2.6;
        assert_eq!(machine.run(&mut choice, 3), []);
        machine.capacity = 5.0;
        assert_eq!(machine.run(&mut choice, 60), []);
    }

    #[test]
    fn without_smaller_inputs_a_slow_device_is_reported_once() {
        let (mut choice, mut machine) = (InputChoice::new(vec![LARGE]), Machine::new(2.0, 7.0));
        let verdicts = machine.run(&mut choice, 120);
        assert_eq!(verdicts.iter().map(|(_, then)| *then).collect::<Vec<_>>(), [Then::Overloaded]);
        assert!(!choice.has_smaller());
    }
}
