//! The command `lookout tensor`.

use std::{fs, process::ExitCode};

use anyhow::Context;
use lookout_args::TensorArgs;
use lookout_model::{RawInput, load_raw};

use crate::{WrongInput, network};

pub(crate) fn run(args: &TensorArgs) -> anyhow::Result<ExitCode> {
    let input = RawInput::read(&args.input).context(WrongInput)?;
    if let ([precision], []) = (args.precision.as_slice(), args.batch.as_slice()) {
        let network = load_raw(&network::settings(&args.network, precision)?).context(WrongInput)?;
        network.run_raw(&input)?.write(&args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = &args.output;
    fs::create_dir_all(folder)
        .with_context(|| format!("--output: the folder {} cannot be created", folder.display()))
        .context(WrongInput)?;
    for precision in &args.precision {
        let network = load_raw(&network::settings(&args.network, precision)?).context(WrongInput)?;
        let write = |name: String, input: &RawInput| -> anyhow::Result<()> {
            Ok(network.run_raw(input)?.write(&folder.join(name))?)
        };
        if args.batch.is_empty() {
            write(format!("{precision}.safetensors"), &input)?;
        }
        for batch in &args.batch {
            let few = || {
                anyhow::Error::msg(format!("--batch: `x` has fewer than {batch} rows")).context(WrongInput)
            };
            write(format!("{precision}-{batch}.safetensors"), &input.first(*batch).ok_or_else(few)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
