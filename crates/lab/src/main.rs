//! `lookout-lab`: the commands that run, measure and train networks. Linked with libtorch and not with GStreamer, so
//! that it runs on a machine that only has a GPU and its driver.

mod bench;
mod check_device;
mod draw;
mod eval;
mod infer;
mod network;
mod pipeline;
mod tensor;
mod timed;
mod train;
mod weights;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use lookout_args::{
    BenchArgs, CheckDeviceArgs, CurvesArgs, EvalArgs, InferArgs, TensorArgs, TrainArgs, WeightsArgs, logging,
    process::{self, FreedMemory},
};

/// Run, measure and train networks
#[derive(Debug, Parser)]
#[command(name = "lookout", bin_name = "lookout", version)]
struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Infer(InferArgs),
    Tensor(TensorArgs),
    Bench(BenchArgs),
    CheckDevice(CheckDeviceArgs),
    Weights(WeightsArgs),
    Train(TrainArgs),
    Eval(EvalArgs),
    Curves(CurvesArgs),
}

impl Verb {
    /// Training allocates on many threads, which would wait for each other for the only arena that keeps its memory.
    fn freed_memory(&self) -> FreedMemory {
        match self {
            Self::Infer(_) | Self::Bench(_) | Self::CheckDevice(_) | Self::Eval(_) => FreedMemory::Keep,
            Self::Tensor(_) | Self::Weights(_) | Self::Train(_) | Self::Curves(_) => FreedMemory::Return,
        }
    }
}

/// Exit code for wrong input; nothing was started.
const WRONG_INPUT: u8 = 2;

fn main() -> ExitCode {
    let restarted = process::restart_with_spinning();
    let lab = Lab::parse();
    let freed = lab.verb.freed_memory();
    process::set_freed_memory(freed);
    logging::start("warn", io::stderr);
    process::log(freed, restarted);
    let done = match &lab.verb {
        Verb::Infer(args) => infer::run(args),
        Verb::Tensor(args) => tensor::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::CheckDevice(args) => check_device::run(args),
        Verb::Weights(args) => weights::run(args),
        Verb::Train(args) => train::run(args),
        Verb::Eval(args) => eval::run(args),
        Verb::Curves(args) => train::curves(args),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "lookout: {error:#}");
        ExitCode::from(if error.is::<WrongInput>() { WRONG_INPUT } else { 1 })
    })
}

/// Marks an error as caused by the command line or a file that it names.
#[derive(Debug, Clone, Copy)]
struct WrongInput;

impl std::fmt::Display for WrongInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrong input")
    }
}
