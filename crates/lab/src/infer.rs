//! The command `lookout infer`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use image::RgbImage;
use lookout_args::InferArgs;
use lookout_config::{ExifOrientation, ModelSettings, ResizeModeSetting, input_size};
use lookout_model::{Loaded, ResizedImage, load, read_image};
use lookout_schema::{Classification, Detection, ModelInfo, Size};
use lookout_stage::{DetectFrame, DetectionFilter, InferenceResult};
use serde::Serialize;

use crate::{WrongInput, draw::Drawing, network, network::exif_orientation};

/// The output for one image.
#[derive(Debug, Serialize)]
struct Seen<'a> {
    image: &'a Path,
    source: Size,
    model: &'a ModelInfo,
    detections: Vec<Detection>,
    classes: Vec<Classification>,
    /// The path of the annotated copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<PathBuf>,
}

/// How an image is resized for the network.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// To the network's input size; `None` uses the network's default resize mode.
    Input(Option<ResizeModeSetting>),
    /// To a size that depends on the image's size, like torchvision's detectors.
    Torchvision,
}

impl Way {
    fn named(args: &InferArgs) -> anyhow::Result<Self> {
        let wrong = |what: String| anyhow::Error::msg(what).context(WrongInput);
        match args.resize_mode.as_deref() {
            None => Ok(Self::Input(None)),
            Some("torchvision") if args.input.is_some() => Err(wrong(
                "--input: `--resize-mode torchvision` derives the input size from each image; omit one of the two"
                    .into(),
            )),
            Some("torchvision") => Ok(Self::Torchvision),
            Some(text) => match text.parse() {
                Ok(fit) => Ok(Self::Input(Some(fit))),
                Err(error) => Err(wrong(format!("--resize-mode: {error}, `torchvision`"))),
            },
        }
    }
}

pub(crate) fn run(args: &InferArgs) -> anyhow::Result<ExitCode> {
    let wrong = |what: String| anyhow::Error::msg(what).context(WrongInput);
    let input = args.input.as_deref().map(input_size).transpose();
    let way = Way::named(args)?;
    let exif = exif_orientation(&args.exif_orientation)?;
    let settings = ModelSettings {
        labels: args.labels.clone(),
        top_k: args.top_k,
        input: input.map_err(|what| wrong(format!("--input: {what}")))?,
        fit: if let Way::Input(fit) = way { fit } else { None },
        score_threshold: args.score_threshold,
        ..network::settings(&args.network, &args.precision)?
    };
    let drawing = args.draw.as_deref().map(|folder| Drawing::new(folder, &args.images));
    let drawing = drawing.transpose().context(WrongInput)?;
    let mut loaded = load(&settings).context(WrongInput)?;
    let mut all_seen = true;
    for (index, image) in args.images.iter().enumerate() {
        let draw = |image: &RgbImage, findings: &InferenceResult| {
            let copy = drawing
                .as_ref()
                .map(|drawing| drawing.draw(index, image, &findings.detections, &findings.classes));
            copy.transpose()
        };
        match infer_image(&mut loaded, (image, exif), way, draw) {
            Ok(line) => writeln!(io::stdout(), "{line}")?,
            Err(error) => {
                all_seen = false;
                writeln!(io::stderr(), "lookout: {error:#}")?;
            }
        }
    }
    Ok(if all_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn infer_image(
    loaded: &mut Loaded,
    (image, exif): (&Path, ExifOrientation),
    way: Way,
    draw: impl Fn(&RgbImage, &InferenceResult) -> anyhow::Result<Option<PathBuf>>,
) -> anyhow::Result<String> {
    let source = read_image(image, exif)?;
    let resized = match way {
        Way::Torchvision => ResizedImage::for_torchvisions_detectors(&source)?,
        Way::Input(_) => ResizedImage::new(&source, loaded.fit, loaded.input),
    };
    let frame = DetectFrame {
        pixels: &resized.pixels,
        source: resized.source,
        placement: resized.placement,
        keep: DetectionFilter::all(),
    };
    let findings =
        loaded.detector.detect(&[frame])?.findings.pop().context("the network returned no result")?;
    let drawn = draw(&source, &findings)?;
    Ok(serde_json::to_string(&Seen {
        image,
        source: resized.source,
        model: &loaded.info,
        detections: findings.detections,
        classes: findings.classes,
        drawn,
    })?)
}
