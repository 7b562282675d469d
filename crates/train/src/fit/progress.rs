//! The progress of a run on a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::{EvaluationTold, StepTold, Told};

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
    pub fn tell(&self, told: &Told) {
        match (told, &self.bar) {
            (Told::Step(told), Some(bar)) => {
                bar.set_length(told.steps);
                bar.set_position(told.step);
                bar.set_message(step_line(told));
            }
            (Told::Step(told), None) => {
                line(&format!("step {}/{}: {}", told.step, told.steps, step_line(told)));
            }
            (Told::Evaluation(told), Some(bar)) => bar.suspend(|| line(&evaluation_line(told))),
            (Told::Evaluation(told), None) => line(&evaluation_line(told)),
        }
    }
}

/// Ignores write errors: a closed standard error must not stop the run.
fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn step_line(told: &StepTold) -> String {
    let left = HumanDuration(std::time::Duration::try_from_secs_f64(told.eta_s).unwrap_or_default());
    format!(
        "epoch {}, loss {:.4}, lr {:.2e}, {:.1} images/s, {left} left",
        told.epoch, told.loss, told.lr, told.images_per_s
    )
}

fn evaluation_line(told: &EvaluationTold) -> String {
    let metrics = told.metrics.iter().map(|(name, value)| format!(", {name} {value:.4}"));
    let best = if told.best { ", best so far" } else { "" };
    format!("epoch {}: score {:.4}{}{best}", told.epoch, told.score, metrics.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn progress_lines_show_step_and_metrics() {
        let told = StepTold {
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
        assert_eq!(step_line(&told), "epoch 2, loss 1.5000, lr 1.00e-2, 12.3 images/s, 2 minutes left");
        let told = EvaluationTold {
            epoch: 2,
            step: 30,
            score: 0.5,
            best: true,
            metrics: BTreeMap::from([("ap50".to_owned(), 0.7)]),
            elapsed_s: 10.0,
        };
        assert_eq!(evaluation_line(&told), "epoch 2: score 0.5000, ap50 0.7000, best so far");
    }
}
