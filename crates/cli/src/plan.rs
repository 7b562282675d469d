//! `lookout plan`: calculates the resources of a fleet from measurements and requirements. The only I/O is
//! reading the profile.

mod batch;
mod fleet;
mod kafka;
mod print;
mod profile;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use lookout_args::PlanArgs;
use lookout_config::{Arch, arch_list, input_size};
use serde::Serialize;

use self::{batch::Batch, fleet::Fleet, kafka::Kafka, profile::Profile};
use crate::check::WRONG_INPUT;

/// The result of the calculation, as printed by `--json`.
#[derive(Debug, PartialEq, Serialize)]
struct Plan {
    cameras: u32,
    fps: f64,
    arch: String,
    batch: Batch,
    fleet: Fleet,
    kafka: Kafka,
    assumptions: Vec<Assumption>,
}

/// An assumption of the calculation.
#[derive(Debug, PartialEq, Serialize)]
struct Assumption {
    what: String,
    /// Where the assumption comes from: a document, an option or a file.
    source: String,
}

impl Assumption {
    fn new(what: impl Into<String>, source: impl Into<String>) -> Self {
        Self { what: what.into(), source: source.into() }
    }
}

pub(crate) fn run(args: &PlanArgs) -> ExitCode {
    let plan = checked(args).and_then(|()| {
        let profile = match &args.profile {
            Some(file) => Profile::read(file)?,
            None => Profile::reference()?,
        };
        plan(args, &profile)
    });
    let written = match plan {
        Ok(plan) if args.json => serde_json::to_string(&plan).map_err(io::Error::other),
        Ok(plan) => Ok(print::text(&plan)),
        Err(what) => {
            let _ = writeln!(io::stderr(), "lookout plan: {what}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    match written.and_then(|text| writeln!(io::stdout(), "{text}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "lookout plan: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the ranges of the arguments that clap does not check.
fn checked(args: &PlanArgs) -> Result<(), String> {
    let above_zero = [
        ("--cameras", f64::from(args.cameras)),
        ("--fps", args.fps),
        ("--latency-ms", args.latency_ms),
        ("--stream-fps", args.stream_fps),
        ("--retention-h", args.retention_h),
        ("--replication", f64::from(args.replication)),
        ("--gpus", f64::from(args.gpus)),
        ("--cores", f64::from(args.cores.unwrap_or(1))),
        ("--decode-ms", args.decode_ms.unwrap_or(1.0)),
        ("--utilization", args.utilization),
    ];
    if let Some((option, number)) =
        above_zero.into_iter().find(|(_, number)| !number.is_finite() || *number <= 0.0)
    {
        return Err(format!("{option}: {number} is invalid; it must be a number above 0"));
    }
    if args.utilization > 1.0 {
        return Err(format!(
            "--utilization: {} is invalid; it must be above 0 and at most 1",
            args.utilization
        ));
    }
    if !args.results.is_finite() || args.results < 0.0 {
        return Err(format!("--results: {} is invalid; it must be 0 or more", args.results));
    }
    if args.fps > args.stream_fps {
        return Err(format!(
            "--fps: {} is more than the {} frames/s that a camera sends; lower it, or raise --stream-fps",
            args.fps, args.stream_fps
        ));
    }
    if Arch::from_name(&args.arch).is_none() {
        return Err(format!("--arch: unknown network `{}`; supported: {}", args.arch, arch_list()));
    }
    Ok(())
}

fn plan(args: &PlanArgs, profile: &Profile) -> Result<Plan, String> {
    let input =
        args.input.as_deref().map(input_size).transpose().map_err(|what| format!("--input: {what}"))?;
    let stream = input_size(&args.stream).map_err(|what| format!("--stream: {what}"))?;
    let mut assumptions = Vec::new();
    let measured = profile.measurements(&args.arch, args.precision.as_deref(), input, &mut assumptions)?;
    let batch = Batch::choose(&measured, args.latency_ms, &mut assumptions)?;
    let decode_ms = args.decode_ms.unwrap_or_else(|| fleet::decode_ms(stream));
    let wanted = fleet::Wanted {
        cameras: args.cameras,
        fps: args.fps,
        stream_fps: args.stream_fps,
        decode_ms,
        utilization: args.utilization,
        spare: args.spare,
        cores: args.cores.map_or(profile.cores() as f64, f64::from),
        measured_cores: profile.cores() as f64,
        gpus: args.gpus,
    };
    assumptions.push(Assumption::new(
        format!("decoding a frame of {} takes {decode_ms:.1} ms of CPU time", args.stream),
        if args.decode_ms.is_some() { "--decode-ms".into() } else { fleet::DECODE_SOURCE.to_owned() },
    ));
    let fleet = Fleet::plan(&wanted, &batch, &mut assumptions)?;
    let records = kafka::Wanted {
        cameras: args.cameras,
        fps: args.fps,
        findings: args.results,
        retention_h: args.retention_h,
        replication: args.replication,
        consumers: args.consumers,
        workers: fleet.machines + fleet.spare,
    };
    let kafka = Kafka::plan(&records, &mut assumptions);
    Ok(Plan {
        cameras: args.cameras,
        fps: args.fps,
        arch: args.arch.clone(),
        batch,
        fleet,
        kafka,
        assumptions,
    })
}
