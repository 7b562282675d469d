//! The device's measured time per frame.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lookout_schema::Size;

/// The moving average of the time per frame, updated by all streams of a device.
#[derive(Debug, Default)]
pub(crate) struct TimePerFrame(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// The images' size, on which the time depends.
    input: Option<Size>,
    known: Known,
    /// Whether a batch has completed.
    has_worked: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Known {
    #[default]
    Nothing,
    /// From a first pass, which includes one-time preparation; replaced by the next measurement.
    Guess(Duration),
    Mean(Duration),
}

impl TimePerFrame {
    pub(crate) fn with_guess(per_frame: Option<Duration>) -> Self {
        let known = per_frame.map_or(Known::Nothing, Known::Guess);
        Self(Mutex::new(State { known, ..State::default() }))
    }

    /// Records that a batch of `frames` images of size `input` took `took`.
    pub(crate) fn learn(&self, input: Size, frames: usize, took: Duration) {
        let Some(sample) = per_frame(frames, took) else { return };
        let mut state = self.of(input);
        state.known = Known::Mean(match state.known {
            Known::Mean(mean) => mean - mean / 4 + sample / 4,
            Known::Nothing | Known::Guess(_) => sample,
        });
    }

    /// Records that the first batch of a size in a stream took `took`, including one-time preparation.
    pub(crate) fn guess(&self, input: Size, frames: usize, took: Duration) {
        let Some(sample) = per_frame(frames, took) else { return };
        let mut state = self.of(input);
        if let Known::Nothing | Known::Guess(_) = state.known {
            state.known = Known::Guess(sample);
        }
    }

    /// Returns the time per frame, or `None` before there is any estimate.
    pub(crate) fn per_frame(&self) -> Option<Duration> {
        self.state().known.per_frame()
    }

    /// Returns whether a batch has completed, so that the time per frame was measured in this run.
    pub(crate) fn has_worked(&self) -> bool {
        self.state().has_worked
    }

    /// Returns the state for images of size `input`. A value for another size becomes a guess for this one, scaled by
    /// the number of pixels.
    fn of(&self, input: Size) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if let (Some(before), Some(known)) = (state.input, state.known.per_frame())
            && before != input
        {
            let pixels = |size: Size| f64::from(size.width) * f64::from(size.height);
            state.known = Known::Guess(known.mul_f64(pixels(input) / pixels(before).max(1.0)));
        }
        state.input = Some(input);
        state.has_worked = true;
        state
    }

    // The state is always written as a whole, so it is consistent even if the lock is poisoned.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn per_frame(self) -> Option<Duration> {
        match self {
            Self::Nothing => None,
            Self::Guess(per_frame) | Self::Mean(per_frame) => Some(per_frame),
        }
    }
}

fn per_frame(frames: usize, took: Duration) -> Option<Duration> {
    u32::try_from(frames).ok().filter(|frames| *frames > 0).map(|frames| took / frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const INPUT: Size = Size { width: 640, height: 384 };

    #[test]
    fn the_time_per_frame_follows_the_last_batches() {
        let time = TimePerFrame::default();
        assert_eq!(time.per_frame(), None);
        time.learn(INPUT, 0, ms(1_000));
        assert_eq!(time.per_frame(), None);
        time.learn(INPUT, 4, ms(400));
        assert_eq!(time.per_frame(), Some(ms(100)));
        (0..30).for_each(|_| time.learn(INPUT, 1, ms(20)));
        let settled = time.per_frame().unwrap_or_default();
        assert!((19..22).contains(&settled.as_millis()), "{settled:?}");
    }

    #[test]
    fn the_first_batch_of_a_size_is_only_an_estimate() {
        let time = TimePerFrame::with_guess(Some(ms(9_000)));
        assert_eq!(time.per_frame(), Some(ms(9_000)));
        time.guess(INPUT, 1, ms(3_000));
        assert_eq!(time.per_frame(), Some(ms(3_000)));
        time.learn(INPUT, 1, ms(100));
        assert_eq!(time.per_frame(), Some(ms(100)), "a measurement replaces the estimate");
        time.guess(INPUT, 4, ms(8_000));
        assert_eq!(time.per_frame(), Some(ms(100)));
    }

    #[test]
    fn a_smaller_input_is_estimated_first_and_then_measured() {
        let time = TimePerFrame::default();
        assert!(!time.has_worked());
        time.learn(INPUT, 1, ms(1_000));
        assert!(time.has_worked());
        let small = Size { width: 320, height: 192 };
        time.guess(small, 1, ms(700));
        assert_eq!(time.per_frame(), Some(ms(700)));
        time.learn(small, 1, ms(300));
        assert_eq!(time.per_frame(), Some(ms(300)));
        time.learn(INPUT, 0, ms(1));
        assert_eq!(time.per_frame(), Some(ms(300)));
    }
}
