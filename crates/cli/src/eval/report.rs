//! The report of an end-to-end evaluation.

use std::{collections::BTreeMap, fmt::Write, io, path::Path};

use lookout_args::EvalArgs;
use lookout_draw::{Plot, Series, of_class};
use lookout_measure::ObjectsReport;
use serde_json::{Value, json};

use super::{
    programs::{OnRaw, WorkerSummary},
    scores::Scores,
};

pub(super) struct Report {
    pub(super) raw: OnRaw,
    pub(super) scores: Scores,
    pub(super) worker: WorkerSummary,
}

impl Report {
    pub(super) fn json(&self) -> Value {
        let Self { raw, scores, .. } = self;
        let ledger = self.ledger();
        json!({
            "raw": {"ap": raw.ap, "ap50": raw.ap50},
            "objects": ObjectsReport::of(&scores.objects),
            "tracks": scores.tracks.summary(),
            "ttc": {
                "estimated": scores.ttc_off.len(), "missing": scores.ttc_missing,
                "median_error": quantile(&scores.ttc_off, 0.5), "p90_error": quantile(&scores.ttc_off, 0.9),
            },
            "age_ms": {
                "p50": self.age_ms(0.5), "p95": self.age_ms(0.95), "p99": self.age_ms(0.99),
            },
            "frames": {
                "shown": scores.shown, "seen": scores.seen, "undated": scores.undated,
                "received": ledger.received, "published": ledger.published, "delivered": ledger.delivered,
                "dropped": ledger.dropped,
            },
        })
    }

    pub(super) fn markdown(&self, args: &EvalArgs) -> String {
        let Self { raw, scores, .. } = self;
        let summary = scores.objects.summary();
        let ledger = self.ledger();
        let number = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.3}"));
        let per_cent =
            |number: Option<f64>| number.map_or("-".into(), |number| format!("{:.1} %", 100.0 * number));
        let ms = |part: f64| self.age_ms(part).map_or("-".into(), |ms| format!("{ms:.0} ms"));
        let farm = &args.farm;
        let mut text = format!(
            "# End-to-end evaluation of `{}`\n\n{} simulated cameras, {} frames/s, {} s, seed {}; weights `{}`, \
             {}.\n\n",
            args.network.arch,
            farm.cameras,
            farm.fps,
            farm.seconds,
            farm.seed,
            args.network.weights,
            args.precision
        );
        let rows = [
            ("AP", format!("{} (on the raw frames {})", number(summary.ap), number(raw.ap))),
            ("AP50", format!("{} (on the raw frames {})", number(summary.ap50), number(raw.ap50))),
            ("tracks", scores.tracks.summary().to_string()),
            (
                "time to collision",
                format!(
                    "median error {}, 90th percentile {}, of {} estimates; {} without an estimate",
                    per_cent(quantile(&scores.ttc_off, 0.5)),
                    per_cent(quantile(&scores.ttc_off, 0.9)),
                    scores.ttc_off.len(),
                    scores.ttc_missing
                ),
            ),
            (
                "age of a record",
                format!("median {}, 95th percentile {}, 99th percentile {}", ms(0.5), ms(0.95), ms(0.99)),
            ),
            (
                "frames",
                format!(
                    "{} sent, {} with a record, {} without; {} more records have no time of the camera",
                    scores.shown,
                    scores.seen,
                    scores.shown.saturating_sub(scores.seen),
                    scores.undated
                ),
            ),
            (
                "the worker's ledger",
                format!(
                    "{} received = {} published + {} dropped; {} delivered{}",
                    ledger.received,
                    ledger.published,
                    ledger.dropped.values().sum::<u64>(),
                    ledger.delivered,
                    causes(&ledger.dropped)
                ),
            ),
        ];
        text.push_str("| | |\n|---|---|\n");
        for (name, value) in rows {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        let _ = writeln!(text, "\n```text\n{}```", ObjectsReport::of(&scores.objects));
        text
    }

    /// Writes the cumulative distribution of the records' age as a PNG.
    pub(super) fn write_ages(&self, path: &Path) -> io::Result<()> {
        let points: Vec<(f64, f64)> = (0..=100)
            .map(|part| f64::from(part) / 100.0)
            .filter_map(|part| Some((self.age_ms(part)?, part)))
            .collect();
        let series = vec![Series { name: "fraction of the records", points: &points, color: of_class(3) }];
        let most = points.last().map_or(1.0, |(ms, _)| *ms);
        let plot =
            Plot { right: format!("age {most:.0} ms"), x: Some([0.0, most]), y: Some([0.0, 1.0]), series };
        Plot::all(&[plot]).save(path).map_err(io::Error::other)
    }

    fn age_ms(&self, part: f64) -> Option<f64> {
        let ages: Vec<f64> = self.scores.ages_ms.iter().map(|ms| *ms as f64).collect();
        quantile(&ages, part)
    }

    /// Returns the sum of the ledgers of all cameras.
    fn ledger(&self) -> Ledger {
        let mut all = Ledger::default();
        for camera in self.worker.cameras.values() {
            all.received += camera.received;
            all.published += camera.published;
            all.delivered += camera.delivered;
            for (cause, count) in &camera.dropped {
                *all.dropped.entry(cause.clone()).or_insert(0) += count;
            }
        }
        all
    }
}

#[derive(Debug, Default)]
struct Ledger {
    received: u64,
    published: u64,
    delivered: u64,
    dropped: BTreeMap<String, u64>,
}

fn causes(dropped: &BTreeMap<String, u64>) -> String {
    let causes =
        dropped.iter().filter(|(_, count)| **count > 0).map(|(cause, count)| format!("{cause} {count}"));
    let causes = causes.collect::<Vec<_>>().join(", ");
    if causes.is_empty() { causes } else { format!(" ({causes})") }
}

/// Returns the quantile `part`, 0 to 1, of `numbers`, or `None` if there are no numbers.
fn quantile(numbers: &[f64], part: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((part * last as f64).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_returns_one_of_the_numbers() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(
            [0.0, 0.9, 1.0].map(|part| quantile(&[4.0, 1.0], part)),
            [Some(1.0), Some(4.0), Some(4.0)]
        );
    }
}
