//! What a run tells, line by line.

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
pub enum Told {
    Step(StepTold),
    Evaluation(EvaluationTold),
}

/// Of some steps: means since the last line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTold {
    /// From 1.
    pub epoch: u64,
    /// From 1, of `steps`.
    pub step: u64,
    pub steps: u64,
    pub lr: f64,
    pub loss: f64,
    /// The loss' parts.
    pub parts: BTreeMap<String, f64>,
    /// Of the last of the steps, before it was clipped.
    pub gradient_norm: f64,
    pub images_per_s: f64,
    pub elapsed_s: f64,
    /// How long it will take yet at this pace.
    pub eta_s: f64,
}

/// Of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationTold {
    pub epoch: u64,
    pub step: u64,
    /// What the best network is chosen by; more is better.
    pub score: f64,
    /// Whether it is the best until now.
    pub best: bool,
    pub metrics: BTreeMap<String, f64>,
    pub elapsed_s: f64,
}

/// The file that the lines are in.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    bytes: u64,
}

impl Journal {
    /// Goes on after `bytes`; what was written later is of steps that will be made again.
    pub(super) fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = bytes.min(file.metadata()?.len());
        file.set_len(bytes)?;
        file.flush()?;
        Ok(Self { file, bytes })
    }

    pub(super) fn write(&mut self, told: &Told) -> io::Result<()> {
        let mut line = serde_json::to_vec(told)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
