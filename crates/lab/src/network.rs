//! Converts command-line options to a network's settings.

use lookout_args::NetworkArgs;
use lookout_config::{ExifOrientation, ModelSettings, TORCHSCRIPT};

use crate::WrongInput;

/// Returns the settings of the network on the command line.
pub(crate) fn settings(args: &NetworkArgs, precision: &str) -> anyhow::Result<ModelSettings> {
    let wrong =
        |option: &str, what: String| anyhow::Error::msg(format!("--{option}: {what}")).context(WrongInput);
    let output = args.output_kind.as_deref().map(str::parse).transpose();
    let output = output.map_err(|error| wrong("output-kind", format!("{error}")))?;
    if output.is_some() && args.arch != TORCHSCRIPT {
        return Err(wrong("output-kind", "it is for `--arch torchscript` only".into()));
    }
    Ok(ModelSettings {
        output,
        device: args.device.parse().map_err(|error| wrong("device", format!("{error}")))?,
        precision: precision.parse().map_err(|error| wrong("precision", format!("{error}")))?,
        threads: args.threads,
        ..ModelSettings::named(&args.arch, &args.weights)
    })
}

/// Parses how the EXIF orientation of images is handled.
pub(crate) fn exif_orientation(text: &str) -> anyhow::Result<ExifOrientation> {
    text.parse().map_err(|what| anyhow::Error::msg(format!("--exif-orientation: {what}")).context(WrongInput))
}
