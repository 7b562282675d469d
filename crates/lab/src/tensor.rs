//! `lookout tensor`.

use std::process::ExitCode;

use anyhow::Context;
use lookout_args::TensorArgs;
use lookout_model::{RawInput, load_raw};

use crate::{WrongInput, network};

pub(crate) fn run(args: &TensorArgs) -> anyhow::Result<ExitCode> {
    let settings = network::settings(&args.network, &args.precision)?;
    let input = RawInput::read(&args.input).context(WrongInput)?;
    let network = load_raw(&settings).context(WrongInput)?;
    network.run_raw(&input)?.write(&args.output)?;
    Ok(ExitCode::SUCCESS)
}
