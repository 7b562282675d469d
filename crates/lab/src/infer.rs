//! `lookout infer`.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use lookout_args::InferArgs;
use lookout_config::{ModelSettings, input_size};
use lookout_model::{Loaded, Picture, load};
use lookout_schema::{Classification, Detection, ModelInfo, Size};
use lookout_stage::{DetectFrame, Keep};
use serde::Serialize;

use crate::{WrongInput, network};

/// What is printed for a picture.
#[derive(Debug, Serialize)]
struct Seen<'a> {
    image: &'a Path,
    source: Size,
    model: &'a ModelInfo,
    detections: Vec<Detection>,
    classes: Vec<Classification>,
}

pub(crate) fn run(args: &InferArgs) -> anyhow::Result<ExitCode> {
    let wrong = |what: String| anyhow::Error::msg(what).context(WrongInput);
    let input = args.input.as_deref().map(input_size).transpose();
    let settings = ModelSettings {
        labels: args.labels.clone(),
        top_k: args.top_k,
        input: input.map_err(|what| wrong(format!("--input: {what}")))?,
        score_threshold: args.score_threshold,
        ..network::settings(&args.network, &args.precision)?
    };
    let mut loaded = load(&settings).context(WrongInput)?;
    let mut all_seen = true;
    for image in &args.images {
        match look(&mut loaded, image, args.torchvision_size) {
            Ok(line) => writeln!(io::stdout(), "{line}")?,
            Err(error) => {
                all_seen = false;
                writeln!(io::stderr(), "lookout: {error:#}")?;
            }
        }
    }
    Ok(if all_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(loaded: &mut Loaded, image: &Path, torchvision_size: bool) -> anyhow::Result<String> {
    let picture = if torchvision_size {
        Picture::read_for_torchvisions_detectors(image)?
    } else {
        Picture::read(image, loaded.fit, loaded.input)?
    };
    let frame = DetectFrame {
        pixels: &picture.pixels,
        source: picture.source,
        placement: picture.placement,
        keep: Keep::all(),
    };
    let findings = loaded.detector.detect(&[frame])?.findings.pop().context("the network saw nothing")?;
    Ok(serde_json::to_string(&Seen {
        image,
        source: picture.source,
        model: &loaded.info,
        detections: findings.detections,
        classes: findings.classes,
    })?)
}
