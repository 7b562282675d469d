//! `lookout monitor`, killed and started again on the same store.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Result;

use crate::program::{free_address, lookout, page, terminate};

/// A `lookout monitor` under way; killed with this guard, by SIGKILL, and its folder is left as it is.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    http: SocketAddr,
}

/// What all monitors of a test have in common.
#[derive(Debug, Clone, Copy)]
pub struct MonitorFiles<'a> {
    /// Of its file, its log and its store.
    pub folder: &'a Path,
    /// `host:port` of Kafka, and the topics' prefix.
    pub kafka: &'a str,
    pub prefix: &'a str,
    /// Rules, zones and lines, as TOML.
    pub rules: &'a str,
}

impl MonitorFiles<'_> {
    /// Starts one, on the store that the one before has left.
    pub fn start(&self) -> Result<Monitor> {
        let Self { folder, kafka, prefix, rules } = self;
        let http = free_address()?;
        let file = folder.join("monitor.toml");
        fs::write(
            &file,
            format!(
                "[monitor]\nhttp = \"{http}\"\ndata = \"store\"\nbegin = \"beginning\"\n\
                 [kafka]\ntopic_prefix = \"{prefix}\"\npartitions = 3\nreplication = 1\n{rules}"
            ),
        )?;
        let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
        let child = Command::new(lookout()?)
            .arg("monitor")
            .arg(&file)
            .args(["--brokers", kafka])
            .env("LOOKOUT_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Monitor { child, http })
    }

    /// What all have said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Monitor {
    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Whether its page answers.
    pub fn serves(&self) -> bool {
        page(self.http, "/healthz").is_some()
    }

    /// One of its numbers, over all its labels; 0 where it does not tell it.
    pub fn number(&self, name: &str) -> u64 {
        let text = page(self.http, "/metrics").map(|(_, text)| text).unwrap_or_default();
        let value = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit_once(' ')?.1.parse::<u64>().ok()
        };
        text.lines().filter_map(value).sum()
    }

    /// Ends it as a user does, and gives its exit code.
    pub fn stop(mut self, patience: Duration) -> Result<Option<i32>> {
        terminate(&mut self.child, patience)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
