//! The limit on a camera's frame rate.

use std::time::Duration;

/// Decides which frames to keep so that the frame rate does not exceed a limit.
///
/// Frames are only dropped. The times of the kept frames do not change.
#[derive(Debug)]
pub(crate) struct FrameRateLimit {
    interval: Duration,
    due: Option<Duration>,
}

/// A frame may arrive earlier than it is due by the interval divided by this number.
///
/// Thus the jitter of a camera whose own rate equals the limit costs no frame. Due times are on a grid, so the mean
/// rate still keeps the limit.
const EARLY: u32 = 4;

/// A frame that is early by more than this many intervals means that the stream's time has restarted.
const BEGUN_ANEW: u32 = 2;

impl FrameRateLimit {
    /// Creates a limit of `fps` frames per second.
    pub(crate) fn new(fps: f64) -> Self {
        Self { interval: Duration::from_secs_f64(1.0 / fps), due: None }
    }

    /// Returns whether to keep the frame at stream time `at`.
    pub(crate) fn keeps(&mut self, at: Duration) -> bool {
        let due = match self.due {
            Some(due) if at + self.interval * BEGUN_ANEW >= due => due,
            _ => at,
        };
        if at + self.interval / EARLY < due {
            return false;
        }
        let next = due + self.interval;
        self.due = Some(if next < at { at + self.interval } else { next });
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(fps: f64, times_ms: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut limit = FrameRateLimit::new(fps);
        times_ms.into_iter().filter(|ms| limit.keeps(Duration::from_millis(*ms))).collect()
    }

    #[test]
    fn reduces_25_fps_to_10_fps() {
        let kept = kept(10.0, (0..250).map(|i| i * 40));
        assert_eq!(kept.len(), 100);
        assert_eq!(kept[..5], [0, 80, 200, 280, 400]);
    }

    #[test]
    fn a_camera_at_the_limit_loses_no_frames_to_jitter() {
        let times = [0, 99, 201, 299, 402, 500, 598, 701];
        assert_eq!(kept(10.0, times), times);
    }

    #[test]
    fn the_next_frame_is_kept_after_a_gap_or_a_restart_of_time() {
        assert_eq!(kept(10.0, [0, 10, 5_000, 5_010, 5_090, 100, 110]), [0, 5_000, 5_090, 100]);
    }

    proptest! {
        #[test]
        fn the_frame_rate_limit_holds_over_any_interval(steps in prop::collection::vec(0u64..200, 1..300), fps in 1u32..40) {
            let times: Vec<u64> = steps.iter().scan(0, |now, step| { *now += step; Some(*now) }).collect();
            let kept = kept(f64::from(fps), times.clone());
            prop_assert_eq!(kept.first(), times.first());
            // A frame may be late by one interval, and early by a quarter of one.
            for (i, from) in kept.iter().enumerate() {
                for (j, to) in kept.iter().enumerate().skip(i) {
                    let most = (to - from) as f64 / 1000.0 * f64::from(fps) + 2.25;
                    prop_assert!(((j - i + 1) as f64) <= most + 1e-6, "{from}..{to}: {} > {most}", j - i + 1);
                }
            }
        }
    }
}
