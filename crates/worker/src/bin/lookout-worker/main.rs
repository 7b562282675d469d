//! `lookout-worker`: runs a pipeline with GStreamer, libtorch and Kafka.

mod components;
mod doctor;
mod run;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Mutex,
};

use clap::{Parser, Subcommand};
use lookout_args::{
    DoctorArgs, RunArgs, logging,
    process::{self, FreedMemory},
};
use lookout_worker::Progress;

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
    let restarted = process::restart_with_spinning();
    process::set_freed_memory(FreedMemory::Keep);
    let worker = Worker::parse();
    let progress = Progress::on_terminal();
    let default = match worker.verb {
        Verb::Run(_) => "info",
        // The command prints its findings itself.
        Verb::Doctor(_) => "off",
    };
    logging::start(default, Mutex::new(progress.log_writer()));
    let done = match &worker.verb {
        Verb::Run(args) => run::run(args, &progress, restarted),
        Verb::Doctor(args) => doctor::run(args),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "lookout: {error:#}");
        ExitCode::FAILURE
    })
}
