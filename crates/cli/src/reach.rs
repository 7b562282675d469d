//! The Kafka cluster and topics that the arguments of a subcommand select.

use std::{
    fmt::Display,
    io::{self, Write},
    num::NonZeroUsize,
    path::Path,
    process::ExitCode,
};

use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{RecordFormat, Topics};

/// The options that select a Kafka cluster and its topics: `--brokers`, `--pipeline` and `--topic-prefix`.
pub(crate) struct Reach<'a> {
    pub(crate) brokers: Option<&'a str>,
    pub(crate) pipeline: Option<&'a Path>,
    pub(crate) topic_prefix: &'a str,
}

impl Reach<'_> {
    /// Returns the selected settings.
    ///
    /// # Errors
    /// Returns an error message if an option or the pipeline file is invalid.
    pub(crate) fn kafka(&self) -> Result<KafkaSettings, String> {
        let mut kafka = match self.pipeline {
            Some(file) => lookout_config::read(file).map_err(|error| error.to_string())?.kafka,
            None => plain(self.topic_prefix)?,
        };
        go_to(&mut kafka, self.brokers)?;
        if kafka.brokers == Brokers::Embedded {
            return Err(
                "the embedded broker runs inside the worker: pass the address that `lookout run` printed \
                        with `--brokers`"
                    .into(),
            );
        }
        Ok(kafka)
    }
}

/// Returns the default settings with this topic prefix.
pub(crate) fn plain(topic_prefix: &str) -> Result<KafkaSettings, String> {
    Ok(KafkaSettings {
        brokers: Brokers::Embedded,
        topics: Topics::new(topic_prefix).map_err(|error| format!("--topic-prefix: {error}"))?,
        format: RecordFormat::default(),
        partitions: 0,
        replication: 0,
        buffer_records: NonZeroUsize::MIN,
        password_file: None,
        client: Vec::new(),
    })
}

/// Overrides the brokers of the settings with `--brokers`, if it is set.
pub(crate) fn go_to(kafka: &mut KafkaSettings, brokers: Option<&str>) -> Result<(), String> {
    if let Some(servers) = brokers {
        kafka.brokers = Brokers::servers(servers).map_err(|what| format!("--brokers: {what}"))?;
    }
    Ok(())
}

/// Runs `work` of the subcommand `verb` to completion, and prints its error. A closed output pipe is not an
/// error.
pub(crate) fn block_on(verb: &str, work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let failed = |error: &dyn Display| {
        let _ = writeln!(io::stderr(), "lookout {verb}: {error}");
        ExitCode::FAILURE
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let is_broken_pipe = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("{error:#}")),
    }
}
