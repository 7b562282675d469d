//! `lookout monitor`, killed and started again on the same store.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;

use crate::program::Serving;

/// A `lookout monitor` under way; killed with this guard, by SIGKILL, and its folder is left as it is.
#[derive(Debug)]
pub struct Monitor {
    program: Serving,
}

/// What all monitors of a test have in common.
#[derive(Debug, Clone, Copy)]
pub struct MonitorFiles<'a> {
    /// Of its file, its log and its store.
    pub folder: &'a Path,
    /// `host:port` of Kafka, and the topics' prefix.
    pub kafka: &'a str,
    pub prefix: &'a str,
    /// Rules, zones and lines, and `[kafka.client]`, as TOML.
    pub rules: &'a str,
}

impl MonitorFiles<'_> {
    /// Starts one, on the store that the one before has left.
    pub fn start(&self) -> Result<Monitor> {
        let Self { folder, kafka, prefix, rules } = self;
        let lines = format!(
            "data = \"store\"\nstart_from = \"earliest\"\n\
             [kafka]\ntopic_prefix = \"{prefix}\"\npartitions = 3\nreplication = 1\n{rules}"
        );
        Ok(Monitor { program: Serving::start("monitor", folder, kafka, &lines)? })
    }

    /// What all have said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Monitor {
    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.program.is_running()
    }

    /// Whether its page answers.
    pub fn serves(&self) -> bool {
        self.program.page("/healthz").is_some()
    }

    /// Whether it is well by its own account, and what it says; none where nothing answers.
    pub fn health(&self) -> Option<(bool, String)> {
        self.program.health()
    }

    /// One of its numbers, over all its labels; 0 where it does not tell it.
    pub fn number(&self, name: &str) -> u64 {
        self.program.number(name)
    }

    /// Ends it as a user does, and gives its exit code.
    pub fn stop(mut self, patience: Duration) -> Result<Option<i32>> {
        self.program.stop(patience)
    }
}
