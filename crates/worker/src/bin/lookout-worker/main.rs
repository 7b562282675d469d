//! `lookout-worker`: a pipeline on the real GStreamer, libtorch and Kafka.

mod doctor;
mod parts;
mod run;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Mutex,
};

use clap::{Parser, Subcommand};
use lookout_args::{DoctorArgs, RunArgs};
use lookout_worker::Progress;
use tracing_subscriber::EnvFilter;

/// The worker of Lookout
#[derive(Debug, Parser)]
#[command(name = "lookout", bin_name = "lookout", version)]
struct Worker {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(RunArgs),
    Doctor(DoctorArgs),
}

fn main() -> ExitCode {
    let worker = Worker::parse();
    let progress = Progress::on_terminal();
    let default = match worker.verb {
        Verb::Run(_) => "info",
        // It says in its own words what is wrong.
        Verb::Doctor(_) => "off",
    };
    let filter = EnvFilter::try_from_env("LOOKOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(Mutex::new(progress.log_writer()))
        .init();
    let done = match &worker.verb {
        Verb::Run(args) => run::run(args, &progress),
        Verb::Doctor(args) => doctor::run(args),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "lookout: {error:#}");
        ExitCode::FAILURE
    })
}
