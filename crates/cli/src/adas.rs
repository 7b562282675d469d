//! `lookout adas`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use lookout_args::AdasArgs;
use lookout_config::{AdasSettings, Brokers};
use tokio::signal::unix::{SignalKind, signal};

use crate::{check::WRONG_INPUT, reach::go_to};

pub(crate) fn run(args: &AdasArgs) -> ExitCode {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(what) => {
            let _ = writeln!(io::stderr(), "{what}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    match until_stopped(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "lookout adas: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn settings(args: &AdasArgs) -> Result<AdasSettings, String> {
    let mut settings = lookout_config::read_adas(&args.file).map_err(|error| error.to_string())?;
    go_to(&mut settings.kafka, args.brokers.as_deref())?;
    if settings.kafka.brokers == Brokers::Embedded {
        return Err(
            "lookout adas: the embedded broker runs inside the worker: pass the address that `lookout run` \
                    printed with `--brokers`, or set `brokers` in [kafka]"
                .into(),
        );
    }
    Ok(settings)
}

fn until_stopped(settings: AdasSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the Tokio runtime")?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        Ok(lookout_adas::run(settings, stop).await?)
    })
}
