//! From what was typed to a network's settings.

use lookout_args::NetworkArgs;
use lookout_config::ModelSettings;

use crate::WrongInput;

/// The settings of a network that was named on the command line.
pub(crate) fn settings(args: &NetworkArgs, precision: &str) -> anyhow::Result<ModelSettings> {
    let wrong =
        |option: &str, what: String| anyhow::Error::msg(format!("--{option}: {what}")).context(WrongInput);
    Ok(ModelSettings {
        device: args.device.parse().map_err(|error| wrong("device", format!("{error}")))?,
        precision: precision.parse().map_err(|error| wrong("precision", format!("{error}")))?,
        threads: args.threads,
        ..ModelSettings::named(&args.arch, &args.weights)
    })
}
