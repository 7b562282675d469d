//! `lookout monitor`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use lookout_args::MonitorArgs;
use lookout_monitor::{Monitor, MonitorError, MonitorSettings};
use tokio::signal::unix::{SignalKind, signal};

use crate::{check::WRONG_INPUT, reach::go_to};

/// Worker threads of the runtime: one for the task that consumes records, and one for HTTP and the store.
const THREADS: usize = 2;

pub(crate) fn run(args: &MonitorArgs) -> ExitCode {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(what) => {
            let _ = writeln!(io::stderr(), "{what}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(serve(settings)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "lookout monitor: {error}");
            let wrong = matches!(error.downcast_ref(), Some(MonitorError::Refused(_)));
            if wrong { ExitCode::from(WRONG_INPUT) } else { ExitCode::FAILURE }
        }
    }
}

fn settings(args: &MonitorArgs) -> Result<MonitorSettings, String> {
    let read = lookout_config::read_monitor(&args.file, &lookout_monitor::KINDS);
    let mut settings = read.map_err(|error| error.to_string())?;
    if let Some(http) = args.http {
        settings.http = http;
    }
    go_to(&mut settings.kafka, args.brokers.as_deref()).map_err(|what| format!("lookout monitor: {what}"))?;
    Ok(settings)
}

async fn serve(settings: MonitorSettings) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let monitor = Monitor::open(settings).await?;
    writeln!(io::stdout(), "http://{}", monitor.address())?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(monitor.run(stop).await?)
}
