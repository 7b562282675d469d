//! The metrics of a run, written as JSON lines.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrainingEvent {
    Step(StepMetrics),
    Evaluation(EvaluationMetrics),
}

/// The metrics of the steps since the last line, as means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Number of the last step, from 1 to `steps`.
    pub step: u64,
    pub steps: u64,
    pub lr: f64,
    pub loss: f64,
    /// The parts of the loss, by name.
    pub parts: BTreeMap<String, f64>,
    /// The norm of the last step's gradient, before clipping.
    pub gradient_norm: f64,
    pub images_per_s: f64,
    pub elapsed_s: f64,
    /// Estimate of the remaining time at the current pace, in seconds.
    pub eta_s: f64,
}

/// The metrics of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationMetrics {
    pub epoch: u64,
    pub step: u64,
    /// The score by which the best network is chosen; higher is better.
    pub score: f64,
    /// Whether the score is the best one so far.
    pub best: bool,
    pub metrics: BTreeMap<String, f64>,
    pub elapsed_s: f64,
}

/// The file of the metrics.
#[derive(Debug)]
pub(super) struct MetricsLog {
    file: File,
    bytes: u64,
}

impl MetricsLog {
    /// Opens the file and truncates it to `bytes`: the lines after them belong to steps that a resumed run repeats.
    pub(super) fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = bytes.min(file.metadata()?.len());
        file.set_len(bytes)?;
        file.flush()?;
        Ok(Self { file, bytes })
    }

    pub(super) fn write(&mut self, event: &TrainingEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
