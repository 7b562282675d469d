//! `lookout eval` on images with annotations.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use lookout_args::EvalArgs;
use lookout_config::{ModelSettings, input_size};
use lookout_draw::{confusion_matrix, precision_recall};
use lookout_measure::Report;
use lookout_model::{Bare, PreparedNetwork, load_bare};
use lookout_train::{
    data::{DataSet, DataSource, Statistics},
    evaluate::{Evaluation, EvaluationSettings},
};

use crate::{WrongInput, network, network::exif_orientation, train::rotated};

pub(crate) fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let (bare, set) = opened(args).context(WrongInput)?;
    let settings =
        EvaluationSettings { resize_mode: bare.fit, ..EvaluationSettings::for_detectors(bare.input) };
    let evaluation = Evaluation::run(&bare.network, &set, settings)?;
    let report = evaluation.report();
    if let Some(folder) = &args.output {
        write(folder, &header(args, &bare, &set), &evaluation, &report)
            .with_context(|| format!("the report cannot be written to {}", folder.display()))?;
    }
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the network, and the data set with the network's classes, and prints an overview of the data set.
fn opened(args: &EvalArgs) -> anyhow::Result<(Bare, DataSet)> {
    let text = args.data.as_deref().context("--data is required: the data set to evaluate on")?;
    let source: DataSource = text.parse().context("--data")?;
    let exif = exif_orientation(&args.exif_orientation)?;
    let set = source.open(args.split.as_deref(), exif)?;
    let checked = set.check_images()?;
    let input = args.input.as_deref().map(input_size).transpose();
    let model_settings = ModelSettings {
        labels: args.labels.clone().or_else(|| labels_beside(&args.network.weights)),
        input: input.map_err(anyhow::Error::msg).context("--input")?,
        ..network::settings(&args.network, &args.precision)?
    };
    let bare = load_bare(&model_settings)?;
    let set = match &bare.labels {
        Some(labels) => {
            let names = labels.names();
            // A detector's first output is the background, which is not a class of a data set.
            let background = usize::from(matches!(bare.network, PreparedNetwork::Detector(_)));
            set.with_network_classes(names.get(background..).unwrap_or_default())?
        }
        None => {
            tracing::warn!(
                classes = set.classes().names().join(", "),
                "the network's class names are unknown, assuming the data set's classes in this order; if the order \
                 differs, the metrics are meaningless: give the names with --labels"
            );
            set
        }
    };
    writeln!(io::stderr(), "{text}:\n{}", Statistics::of(&set))?;
    rotated(checked, exif)?;
    Ok((bare, set))
}

/// Returns the file of class names that `lookout train` wrote beside its weights.
fn labels_beside(weights: &str) -> Option<PathBuf> {
    let weights = Path::new(weights);
    let labels =
        weights.is_file().then(|| weights.with_file_name("labels.txt")).filter(|path| path.is_file())?;
    tracing::warn!(labels = %labels.display(), "using the class names of the file next to the weights");
    Some(labels)
}

fn header(args: &EvalArgs, bare: &Bare, set: &DataSet) -> String {
    let data = args.data.as_deref().unwrap_or_default();
    let split = args.split.as_deref().map(|split| format!(", {split}")).unwrap_or_default();
    format!(
        "# Evaluation of `{}`\n\n| | |\n|---|---|\n| weights | `{}` |\n| precision | {} |\n| input | {}x{} |\n\
         | data | `{data}`{split}, {} images |\n",
        bare.info.arch,
        bare.info.weights,
        bare.info.precision,
        bare.input.width,
        bare.input.height,
        set.len()
    )
}

/// Writes `report.md`, its figure and `metrics.json`.
fn write(folder: &Path, header: &str, evaluation: &Evaluation, report: &Report) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let image = match evaluation {
        Evaluation::Classifier(evaluation) => {
            let confusion = evaluation.summary().confusion;
            let matrix = confusion_matrix(confusion.names(), confusion.rows());
            matrix.save(folder.join("confusion.png")).map_err(io::Error::other)?;
            "![Confusion matrix](confusion.png)"
        }
        Evaluation::Detector(evaluation) => {
            let curves = precision_recall(&evaluation.curves());
            curves.save(folder.join("precision.png")).map_err(io::Error::other)?;
            "![Precision over recall of each class](precision.png)"
        }
    };
    fs::write(folder.join("report.md"), format!("{header}\n```text\n{report}```\n\n{image}\n"))?;
    fs::write(folder.join("metrics.json"), serde_json::to_vec(report)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_next_to_the_weights_are_used() {
        let run = tempfile::tempdir().unwrap();
        let weights = run.path().join("best.safetensors");
        let beside = || labels_beside(weights.to_str().unwrap());
        fs::write(run.path().join("labels.txt"), "cat\n").unwrap();
        assert_eq!(beside(), None, "there are no weights");
        fs::write(&weights, "").unwrap();
        assert_eq!(beside(), Some(run.path().join("labels.txt")));
        fs::remove_file(run.path().join("labels.txt")).unwrap();
        assert_eq!(beside(), None);
        assert_eq!(labels_beside("torchvision"), None);
    }
}
