//! Runs `lookout monitor`, which tests kill and restart on the same store.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;

use crate::program::Serving;

/// A running `lookout monitor`. When it is dropped, it is killed with SIGKILL; its folder stays.
#[derive(Debug)]
pub struct Monitor {
    program: Serving,
}

/// The settings that all monitors of a test share.
#[derive(Debug, Clone, Copy)]
pub struct MonitorFiles<'a> {
    /// The folder of its configuration file, its log and its store.
    pub folder: &'a Path,
    /// `host:port` of Kafka, and the topics' prefix.
    pub kafka: &'a str,
    pub prefix: &'a str,
    /// Rules, zones and lines, and `[kafka.client]`, as TOML.
    pub rules: &'a str,
}

impl MonitorFiles<'_> {
    /// Starts a monitor on the store that the previous one has left.
    pub fn start(&self) -> Result<Monitor> {
        let Self { folder, kafka, prefix, rules } = self;
        let lines = format!(
            "data = \"store\"\nstart_from = \"earliest\"\n\
             [kafka]\ntopic_prefix = \"{prefix}\"\npartitions = 3\nreplication = 1\n{rules}"
        );
        Ok(Monitor { program: Serving::start("monitor", folder, kafka, &lines)? })
    }

    /// Returns the log of all monitors so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Monitor {
    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.program.is_running()
    }

    /// Returns whether its HTTP server answers.
    pub fn serves(&self) -> bool {
        self.program.page("/healthz").is_some()
    }

    /// Returns whether `/healthz` reports success, and its text; `None` without an answer.
    pub fn health(&self) -> Option<(bool, String)> {
        self.program.health()
    }

    /// Returns a metric, summed over all labels; 0 if it is missing.
    pub fn number(&self, name: &str) -> u64 {
        self.program.number(name)
    }

    /// Stops it with a signal, as a user does, and returns its exit code.
    pub fn stop(mut self, patience: Duration) -> Result<Option<i32>> {
        self.program.stop(patience)
    }
}
