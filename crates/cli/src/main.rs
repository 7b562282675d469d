//! The command-line program `lookout`.
//!
//! It is linked with neither GStreamer nor libtorch, so that it starts fast and container images of consumers
//! stay small. For subcommands that need these libraries, it executes the program that is linked with them.

mod adas;
mod cameras;
mod check;
mod cluster;
mod eval;
mod fleet;
mod monitor;
mod plan;
mod reach;
mod replay;
mod sibling;
mod tail;

use std::{io, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use lookout_args::{
    AdasArgs, BenchArgs, CamerasArgs, CheckArgs, CheckDeviceArgs, CurvesArgs, DoctorArgs, EvalArgs,
    FleetArgs, InferArgs, MonitorArgs, PlanArgs, ReplayArgs, RunArgs, SimArgs, TailArgs, TensorArgs,
    TrainArgs, WeightsArgs, logging,
};

/// Run image classifiers and object detectors on camera streams, and publish the results to Kafka
///
/// Workers decode the camera streams, run inference on batches of frames from all cameras, and publish one
/// record per frame to Kafka. To start, take a file from `pipelines/`, check it with `lookout check`, run it
/// with `lookout run`, and print its records with `lookout tail`.
#[derive(Debug, Parser)]
#[command(name = "lookout", version, arg_required_else_help = true)]
struct Lookout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(RunArgs),
    Check(CheckArgs),
    Doctor(DoctorArgs),
    Tail(TailArgs),
    Replay(ReplayArgs),
    Cameras(CamerasArgs),
    Fleet(FleetArgs),
    Monitor(MonitorArgs),
    Plan(PlanArgs),
    Adas(AdasArgs),
    Infer(InferArgs),
    Bench(BenchArgs),
    CheckDevice(CheckDeviceArgs),
    Tensor(TensorArgs),
    Weights(WeightsArgs),
    Train(TrainArgs),
    Eval(EvalArgs),
    Curves(CurvesArgs),
    Sim(SimArgs),
    /// Print the completion script for a shell
    ///
    /// For bash: `lookout completions bash > ~/.local/share/bash-completion/completions/lookout`
    Completions {
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let lookout = Lookout::parse();
    logging::start("warn", io::stderr);
    match lookout.verb {
        Verb::Run(_) | Verb::Doctor(_) => sibling::run("lookout-worker"),
        Verb::Infer(_)
        | Verb::Bench(_)
        | Verb::CheckDevice(_)
        | Verb::Tensor(_)
        | Verb::Weights(_)
        | Verb::Train(_)
        | Verb::Curves(_) => sibling::run("lookout-lab"),
        Verb::Sim(_) => sibling::run("lookout-sim"),
        Verb::Eval(args) => eval::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Tail(args) => tail::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Cameras(args) => cameras::run(&args),
        Verb::Fleet(args) => fleet::run(&args),
        Verb::Monitor(args) => monitor::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Adas(args) => adas::run(&args),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Lookout::command(), "lookout", &mut io::stdout());
            ExitCode::SUCCESS
        }
    }
}
