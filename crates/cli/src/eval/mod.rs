//! `lookout eval --mot`: evaluates the tracker on public sequences.
//!
//! `lookout eval --end-to-end`: compares the records in Kafka with the ground truth of simulated cameras. The
//! frames are encoded, served over RTSP, decoded, processed and published by the same programs as in
//! production.

mod mot;
mod programs;
mod records;
mod report;
mod scores;
mod truth;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use lookout_args::EvalArgs;
use lookout_broker::Embedded;
use lookout_config::{KafkaSettings, Task, is_arch_of};
use lookout_draw::precision_recall;

use self::{
    programs::{Farm, Worker, on_raw_frames},
    report::Report,
    scores::Scores,
    truth::ShownFrames,
};
use crate::{check::WRONG_INPUT, reach, sibling};

pub(crate) fn run(args: &EvalArgs) -> ExitCode {
    if let Some(folder) = &args.mot {
        return mot::run(folder, args);
    }
    if !args.end_to_end {
        return sibling::run("lookout-lab");
    }
    // The metrics need bounding boxes, which classifiers do not have.
    let arch = args.network.arch.as_str();
    if !is_arch_of(arch, Task::Detection) {
        let _ = writeln!(
            io::stderr(),
            "lookout eval: --end-to-end measures detectors only; `{}` is not a built-in detector",
            args.network.arch
        );
        return ExitCode::from(WRONG_INPUT);
    }
    reach::block_on("eval", measured(args))
}

async fn measured(args: &EvalArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let folder = folder.path();
    let say = |what: &str| drop(writeln!(io::stderr(), "{what}"));
    say("rendering and encoding the clips of the cameras");
    let farm = Farm::start(args, folder)?;
    say("running inference on the raw frames");
    let raw = on_raw_frames(args, &folder.join("frames"))?;
    say("running inference end to end, through RTSP, a worker and Kafka");
    let cluster = Embedded::start(&KafkaSettings {
        partitions: 4,
        ..reach::plain("lookout").map_err(anyhow::Error::msg)?
    })?;
    let worker = Worker::start(args, &farm, cluster.bootstrap(), folder)?;
    let watch =
        records::Watch { cameras: farm.cameras(), seconds: args.farm.seconds, frames: args.farm.frames };
    let (frames, worker) = records::read(cluster.settings(), &watch, worker).await?;
    drop(farm);
    let shown = ShownFrames::read(&folder.join("truth.jsonl"), args.farm.fps)?;
    let scores = Scores::of(&frames, &shown);
    let report = Report { raw, scores, worker };
    print_report(args, &report)
}

fn print_report(args: &EvalArgs, report: &Report) -> anyhow::Result<()> {
    let text = report.markdown(args);
    if let Some(folder) = &args.output {
        written(report, &text, folder)
            .with_context(|| format!("cannot write the report into {}", folder.display()))?;
    }
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", report.json())?,
        false => writeln!(out, "{text}")?,
    }
    Ok(())
}

fn written(report: &Report, text: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let curves = precision_recall(&report.scores.objects.curves());
    curves.save(folder.join("precision.png")).map_err(io::Error::other)?;
    report.write_ages(&folder.join("ages.png"))?;
    let images =
        "\n![Precision-recall curve of each class](precision.png)\n\n![Age of the records](ages.png)\n";
    fs::write(folder.join("report.md"), format!("{text}{images}"))?;
    fs::write(folder.join("metrics.json"), report.json().to_string())
}
