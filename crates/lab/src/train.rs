//! The commands `lookout train` and `lookout curves`.

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::Context;
use lookout_args::{CurvesArgs, TrainArgs};
use lookout_config::{ExifOrientation, RecipeSettings, SourceSettings, read_recipe};
use lookout_train::{
    DataLoader, FitError, LoaderSettings, Outcome, Progress, Trainer,
    augment::Augmentation,
    data::{DataSet, DataSource, ImageCheck, Statistics},
    evaluate::{DataSetEvaluator, EvaluationSettings},
    load_augmented, write_comparison, write_curves,
};

use crate::WrongInput;

/// The files of an earlier run that a new run would resume from or append to.
const LEFT_BY_A_RUN: [&str; 2] = ["checkpoint.safetensors", "metrics.jsonl"];

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<ExitCode> {
    let recipe = read_recipe(&args.recipe).context(WrongInput)?;
    let train = open("train", &recipe.data.train, &recipe).context(WrongInput)?;
    let val = open("val", &recipe.data.val, &recipe).context(WrongInput)?;
    if args.check {
        return Ok(ExitCode::SUCCESS);
    }
    if args.restart {
        for name in LEFT_BY_A_RUN {
            let path = recipe.output.join(name);
            if path.exists() {
                fs::remove_file(&path).with_context(|| format!("`{}` cannot be removed", path.display()))?;
            }
        }
    }
    let outcome = fit(&recipe, train, val).map_err(|error| match error.downcast_ref::<FitError>() {
        Some(fault) if fault.is_wrong_input() => error.context(WrongInput),
        _ => error,
    })?;
    let best = outcome.best.map(|score| format!(", best score {score:.4}")).unwrap_or_default();
    let why = if outcome.stopped_early { ", stopped early because the score did not improve" } else { "" };
    writeln!(
        io::stdout(),
        "{} epochs in {} steps{best}{why}\n{}",
        outcome.epochs,
        outcome.steps,
        recipe.output.join("best.safetensors").display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Opens a data set with the recipe's classes, checks that all its images exist, and prints an overview.
fn open(what: &str, source: &SourceSettings, recipe: &RecipeSettings) -> anyhow::Result<DataSet> {
    let SourceSettings { kind, path, split } = source;
    let named: DataSource = format!("{kind}:{}", path.display()).parse()?;
    let exif = recipe.data.exif_orientation;
    let set = named.open(split.as_deref(), exif)?.with_classes(&recipe.model.classes)?;
    let checked = set.check_images()?;
    writeln!(io::stderr(), "[data] {what}, {}:\n{}", path.display(), Statistics::of(&set))?;
    rotated(checked, exif)?;
    let purpose = if what == "train" { "for training" } else { "for evaluation" };
    set.check_objects(&format!("[data] `{what}`, {},", path.display()), purpose)?;
    Ok(set)
}

/// Prints how many images have an EXIF orientation that rotates or mirrors them, if there are any.
pub(crate) fn rotated(checked: ImageCheck, exif: ExifOrientation) -> io::Result<()> {
    let (count, what) = match (checked.rotated, exif) {
        (0, _) => return Ok(()),
        (count, ExifOrientation::Apply) => {
            (count, "they are read as displayed; `ignore` reads them as stored")
        }
        (count, ExifOrientation::Ignore) => {
            (count, "they are read as stored; `apply` reads them as displayed")
        }
    };
    writeln!(io::stderr(), "images that their EXIF orientation rotates or mirrors: {count} ({what})")
}

fn fit(recipe: &RecipeSettings, train: DataSet, val: DataSet) -> anyhow::Result<Outcome> {
    let counts: Vec<usize> = Statistics::of(&train).classes.iter().map(|class| class.images).collect();
    let trainer = Trainer::from_recipe(recipe, &counts).context(WrongInput)?;
    trainer.write_labels(&recipe.model.classes)?;
    let chain = Augmentation::of(&recipe.augment, recipe.model.is_classifier(), recipe.model.input);
    let threads =
        recipe.data.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let loader_settings = LoaderSettings {
        batch_size: recipe.fit.batch,
        seed: recipe.fit.seed,
        balanced: recipe.data.balanced,
        threads,
    };
    let mut loader = DataLoader::new(Arc::new(train), load_augmented(chain), loader_settings);
    let input = recipe.data.val_input.unwrap_or(recipe.model.input);
    let settings = if recipe.model.is_classifier() {
        EvaluationSettings::for_classifiers(input)
    } else {
        EvaluationSettings::for_detectors(input)
    };
    let mut evaluator = DataSetEvaluator::new(Arc::new(val), settings);
    let progress = Progress::new();
    let outcome = trainer.fit(&mut loader, &mut evaluator, &mut |event| progress.report(event))?;
    write_curves(&recipe.output)?;
    Ok(outcome)
}

pub(crate) fn curves(args: &CurvesArgs) -> anyhow::Result<ExitCode> {
    match write_comparison(&args.folders, &args.output) {
        Err(error @ FitError::Read { .. }) => Err(error).context(WrongInput),
        done => {
            done?;
            writeln!(io::stdout(), "{}", args.output.display())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
