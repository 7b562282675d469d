//! The timeline of a camera.

use std::collections::{BTreeMap, BTreeSet};

use lookout_schema::Timestamp;
use serde::Serialize;

use super::rounded;
use crate::{
    state::{Bucket, start_of},
    store::HistoryRow,
};

/// The timeline. Each list has one value per step, `None` where there were no records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HistoryView {
    step_s: u64,
    from: Timestamp,
    /// The mean number of objects per frame, by label.
    labels: BTreeMap<String, Vec<Option<f64>>>,
    fps: Vec<Option<f64>>,
    age_ms: Vec<Option<i64>>,
    dropped: Vec<Option<u64>>,
    delivered: Vec<Option<u64>>,
}

/// The maximum number of steps. A longer time gets longer steps.
const MAX_STEPS: i64 = 360;

/// Returns the timeline of the last `minutes` minutes up to and including the minute `now`.
pub(crate) fn history(rows: &[HistoryRow], now: i64, minutes: i64) -> HistoryView {
    let step = (minutes + MAX_STEPS - 1) / MAX_STEPS;
    let steps = (minutes + step - 1) / step;
    let first = now + 1 - steps * step;
    let mut sums: BTreeMap<i64, Bucket> = BTreeMap::new();
    for row in rows.iter().filter(|row| (first..=now).contains(&row.minute)) {
        sums.entry((row.minute - first) / step).or_default().merge(row);
    }
    let each = |of: &dyn Fn(&Bucket) -> f64| -> Vec<Option<f64>> {
        (0..steps).map(|at| sums.get(&at).map(of)).collect()
    };
    let labels: BTreeSet<&String> = sums.values().flat_map(|sum| sum.labels.keys()).collect();
    let mean = |label: &String| {
        each(&|sum| {
            rounded(sum.labels.get(label).copied().unwrap_or(0) as f64 * 10.0 / sum.frames.max(1) as f64)
                / 10.0
        })
    };
    let seconds = (step * 60) as f64;
    HistoryView {
        step_s: step.unsigned_abs() * 60,
        from: start_of(first),
        labels: labels.into_iter().map(|label| (label.clone(), mean(label))).collect(),
        fps: each(&|sum| rounded(sum.frames as f64 / seconds)),
        age_ms: (0..steps)
            .map(|at| sums.get(&at).filter(|sum| sum.aged > 0).map(|sum| sum.age_ms_sum / sum.aged as i64))
            .collect(),
        dropped: (0..steps).map(|at| sums.get(&at).map(|sum| sum.dropped)).collect(),
        delivered: (0..steps).map(|at| sums.get(&at).map(|sum| sum.frames)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(minute: i64, frames: u64, persons: u64) -> HistoryRow {
        let labels = BTreeMap::from([("person".to_owned(), persons)]);
        Bucket { minute, frames, age_ms_sum: 60 * frames as i64, aged: frames, dropped: 1, labels }
    }

    #[test]
    fn a_minute_without_records_is_null() {
        let view = history(&[row(98, 600, 1200), row(100, 300, 30), row(10, 1, 1)], 100, 3);
        assert_eq!((view.step_s, view.from), (60, start_of(98)));
        assert_eq!(view.labels["person"], [Some(2.0), None, Some(0.1)]);
        assert_eq!(view.fps, [Some(10.0), None, Some(5.0)]);
        assert_eq!((&view.age_ms[0], &view.dropped[2]), (&Some(60), &Some(1)));
    }

    #[test]
    fn long_ranges_have_longer_steps() {
        let view = history(&[row(100, 600, 600), row(99, 600, 1800)], 100, 1440);
        assert_eq!((view.step_s, view.fps.len()), (240, 360));
        assert_eq!(view.labels["person"].last(), Some(&Some(2.0)));
    }
}
