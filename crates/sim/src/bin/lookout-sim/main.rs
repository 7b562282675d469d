//! `lookout-sim`: simulated cameras. Linked with GStreamer and its RTSP server.

mod files;
mod serve;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use lookout_args::{SimArgs, SimVerb};
use lookout_schema::Size;
use lookout_sim::{Place, Weather};

/// Simulated cameras
#[derive(Debug, Parser)]
#[command(name = "lookout", bin_name = "lookout", version)]
struct Sim {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Sim(SimArgs),
}

/// Exit code for wrong input; nothing was started.
const WRONG_INPUT: u8 = 2;

/// Why a command failed.
enum Problem {
    /// Wrong input on the command line.
    Input(String),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn main() -> ExitCode {
    let Verb::Sim(args) = Sim::parse().verb;
    let done = match &args.verb {
        SimVerb::Dataset(args) => files::dataset(args),
        SimVerb::Video(args) => files::video(args),
        SimVerb::Serve(args) => serve::run(args),
    };
    let (what, code) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Problem::Input(what)) => (what, WRONG_INPUT),
        Err(Problem::Failed(error)) => (format!("{error:#}"), 1),
    };
    let _ = writeln!(io::stderr(), "lookout sim: {what}");
    ExitCode::from(code)
}

/// Parses WIDTHxHEIGHT.
fn size(text: &str) -> Result<Size, Problem> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let fits = |side: &u32| (64..=4096).contains(side) && side.is_multiple_of(4);
    match sides {
        Some((width, height)) if fits(&width) && fits(&height) => Ok(Size { width, height }),
        _ => Err(Problem::Input(format!(
            "--size `{text}` is not valid: use WIDTHxHEIGHT, such as 640x360; each side 64 to 4096 and a multiple of 4"
        ))),
    }
}

fn place(text: &str) -> Result<Place, Problem> {
    match text {
        "road" => Ok(Place::Road),
        "yard" => Ok(Place::Yard),
        "drive" => Ok(Place::Drive),
        _ => Err(Problem::Input(format!("--scene `{text}` is not valid: use road, yard or drive"))),
    }
}

fn weather(text: &str, seed: u64) -> Result<Weather, Problem> {
    match text {
        "clear" => Ok(Weather::CLEAR),
        "seed" => Ok(Weather::of(seed)),
        _ => Err(Problem::Input(format!("--weather `{text}` is not valid: use clear or seed"))),
    }
}

fn fps(fps: u32) -> Result<u32, Problem> {
    let out_of_range = || Problem::Input(format!("--fps {fps} is out of range: use 1 to 60"));
    (1..=60).contains(&fps).then_some(fps).ok_or_else(out_of_range)
}

/// Returns a bit rate at which frames of this size look like a real camera's.
fn kbit_s(size: Size, fps: u32) -> u32 {
    let pixels = u64::from(size.width) * u64::from(size.height) * u64::from(fps);
    (pixels * 12 / 100 / 1000).clamp(200, 50_000) as u32
}
