//! The progress of a run on a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::{EvaluationMetrics, StepMetrics, TrainingEvent};

/// A progress bar if standard error is a terminal, otherwise lines of text on standard error.
#[derive(Debug, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
            ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar }
    }

    /// Reports new metrics.
    pub fn report(&self, event: &TrainingEvent) {
        match (event, &self.bar) {
            (TrainingEvent::Step(metrics), Some(bar)) => {
                bar.set_length(metrics.steps);
                bar.set_position(metrics.step);
                bar.set_message(step_line(metrics));
            }
            (TrainingEvent::Step(metrics), None) => {
                line(&format!("step {}/{}: {}", metrics.step, metrics.steps, step_line(metrics)));
            }
            (TrainingEvent::Evaluation(metrics), Some(bar)) => {
                bar.suspend(|| line(&evaluation_line(metrics)));
            }
            (TrainingEvent::Evaluation(metrics), None) => line(&evaluation_line(metrics)),
        }
    }
}

/// Ignores write errors: a closed standard error must not stop the run.
fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn step_line(metrics: &StepMetrics) -> String {
    let left = HumanDuration(std::time::Duration::try_from_secs_f64(metrics.eta_s).unwrap_or_default());
    format!(
        "epoch {}, loss {:.4}, lr {:.2e}, {:.1} images/s, {left} left",
        metrics.epoch, metrics.loss, metrics.lr, metrics.images_per_s
    )
}

fn evaluation_line(metrics: &EvaluationMetrics) -> String {
    let values = metrics.metrics.iter().map(|(name, value)| format!(", {name} {value:.4}"));
    let best = if metrics.best { ", best so far" } else { "" };
    format!("epoch {}: score {:.4}{}{best}", metrics.epoch, metrics.score, values.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn progress_lines_show_step_and_metrics() {
        let metrics = StepMetrics {
            epoch: 2,
            step: 30,
            steps: 100,
            lr: 0.01,
            loss: 1.5,
            parts: BTreeMap::new(),
            gradient_norm: 1.0,
            images_per_s: 12.34,
            elapsed_s: 10.0,
            eta_s: 130.0,
        };
        assert_eq!(step_line(&metrics), "epoch 2, loss 1.5000, lr 1.00e-2, 12.3 images/s, 2 minutes left");
        let metrics = EvaluationMetrics {
            epoch: 2,
            step: 30,
            score: 0.5,
            best: true,
            metrics: BTreeMap::from([("ap50".to_owned(), 0.7)]),
            elapsed_s: 10.0,
        };
        assert_eq!(evaluation_line(&metrics), "epoch 2: score 0.5000, ap50 0.7000, best so far");
    }
}
