//! `lookout eval` on pictures with what is true of them.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use lookout_args::EvalArgs;
use lookout_config::{ModelSettings, input_size};
use lookout_measure::Report;
use lookout_model::{Bare, PreparedNetwork, load_bare};
use lookout_train::{
    data::{DataSet, DataSource, Overview},
    judge::{Look, Measured},
};

use crate::{WrongInput, network};

pub(crate) fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let (bare, set) = opened(args).context(WrongInput)?;
    let look = Look { fit: bare.fit, ..Look::of_detectors(bare.input) };
    let measured = Measured::of(&bare.network, &set, look)?;
    let report = measured.report();
    if let Some(folder) = &args.output {
        write(folder, &header(args, &bare, &set), &measured, &report)
            .with_context(|| format!("the report cannot be written into {}", folder.display()))?;
    }
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The network and the data set with the network's classes; what the latter holds is said.
fn opened(args: &EvalArgs) -> anyhow::Result<(Bare, DataSet)> {
    let text = args.data.as_deref().context("--data is needed: the pictures to measure on")?;
    let source: DataSource = text.parse().context("--data")?;
    let set = source.open(args.split.as_deref())?;
    set.check_pictures()?;
    let input = args.input.as_deref().map(input_size).transpose();
    let settings = ModelSettings {
        labels: args.labels.clone(),
        input: input.map_err(anyhow::Error::msg).context("--input")?,
        ..network::settings(&args.network, &args.precision)?
    };
    let bare = load_bare(&settings)?;
    let set = match &bare.labels {
        Some(labels) => {
            let names = labels.names();
            // A detector's first output is the background, which no data set knows.
            let background = usize::from(matches!(bare.network, PreparedNetwork::Detector(_)));
            set.seen_by(names.get(background..).unwrap_or_default())?
        }
        None => set,
    };
    writeln!(io::stderr(), "{text}:\n{}", Overview::of(&set))?;
    Ok((bare, set))
}

fn header(args: &EvalArgs, bare: &Bare, set: &DataSet) -> String {
    let data = args.data.as_deref().unwrap_or_default();
    let split = args.split.as_deref().map(|split| format!(", {split}")).unwrap_or_default();
    format!(
        "# How good `{}` is\n\n| | |\n|---|---|\n| weights | `{}` |\n| precision | {} |\n| input | {}x{} |\n| data | `{data}`{split}, \
         {} pictures |\n",
        bare.info.arch,
        bare.info.weights,
        bare.info.precision,
        bare.input.width,
        bare.input.height,
        set.len()
    )
}

/// `report.md`, its picture and `metrics.json`.
fn write(folder: &Path, header: &str, measured: &Measured, report: &Report) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let picture = match measured {
        Measured::Classifier(evaluation) => {
            evaluation.summary().confusion.write_png(&folder.join("confusion.png"))?;
            "![Which class was said to be which](confusion.png)"
        }
        Measured::Detector(evaluation) => {
            evaluation.write_png(&folder.join("precision.png"))?;
            "![Precision over recall of each class](precision.png)"
        }
    };
    fs::write(folder.join("report.md"), format!("{header}\n```text\n{report}```\n\n{picture}\n"))?;
    fs::write(folder.join("metrics.json"), serde_json::to_vec(report)?)
}
