//! The command `lookout run`.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use lookout_args::{
    RunArgs, SummaryFormat,
    process::{self, FreedMemory},
};
use lookout_config::{PipelineSettings, read};
use lookout_worker::{NetworkFailed, Progress, StopRequest, Summary};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::components::Ready;

/// Exit code for wrong input; nothing was published.
const WRONG_INPUT: u8 = 2;

/// How long to wait for cameras' pipelines that are still stopping when everything else has ended.
const PIPELINES_STOP: Duration = Duration::from_secs(5);

/// `restarted` is the result of [`process::restart_with_spinning`].
pub(crate) fn run(args: &RunArgs, progress: &Progress, restarted: io::Result<()>) -> Result<ExitCode> {
    let ready = read(&args.pipeline).map_err(anyhow::Error::from).and_then(|settings| {
        let ready = Ready::new(&settings)?;
        Ok((settings, ready))
    });
    let (settings, ready) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            writeln!(io::stderr(), "{error:#}")?;
            return Ok(ExitCode::from(WRONG_INPUT));
        }
    };
    process::log(FreedMemory::Keep, restarted);
    if let Some(embedded) = &ready.embedded {
        let address = embedded.bootstrap();
        writeln!(
            progress.log_writer(),
            "embedded broker at {address}; to print its records: lookout tail --brokers {address}"
        )?;
    }
    let runtime = Runtime::new().context("cannot start the tokio runtime")?;
    let ended = runtime.block_on(until_end(settings, ready, progress));
    if !lookout_ingest::wait_for_pipelines(PIPELINES_STOP) {
        tracing::warn!("the worker exits while GStreamer pipelines of cameras are still stopping");
    }
    match ended {
        Ok(summary) => print_summary(&summary, args.summary),
        Err(error) if error.is::<NetworkFailed>() => {
            writeln!(io::stderr(), "{error:#}")?;
            Ok(ExitCode::from(WRONG_INPUT))
        }
        Err(error) => Err(error),
    }
}

async fn until_end(settings: PipelineSettings, ready: Ready, progress: &Progress) -> Result<Summary> {
    let Ready { components, embedded } = ready;
    let stops = stops_on_signals().context("cannot install handlers for SIGINT and SIGTERM")?;
    let summary = lookout_worker::run(settings, components, stops, progress).await;
    drop(embedded);
    summary
}

/// Returns the stop requests from SIGINT and SIGTERM: the first signal drains, the second one stops at once.
fn stops_on_signals() -> io::Result<mpsc::Receiver<StopRequest>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stops) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // A third signal has no further effect.
            let _ = stop.try_send(StopRequest);
        }
    });
    Ok(stops)
}

fn print_summary(summary: &Summary, format: SummaryFormat) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    match format {
        SummaryFormat::Text => writeln!(out, "{summary}")?,
        SummaryFormat::Json => writeln!(out, "{}", serde_json::to_string(summary)?)?,
        SummaryFormat::None => {}
    }
    let failures = summary.failures();
    for (camera, why) in &failures {
        writeln!(io::stderr(), "lookout: camera {camera}: {why}")?;
    }
    if let Some(reason) = &summary.fleet {
        writeln!(io::stderr(), "lookout: the fleet: {reason}")?;
    }
    Ok(if failures.is_empty() && summary.fleet.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
