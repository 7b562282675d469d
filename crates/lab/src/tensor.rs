//! `lookout tensor`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use lookout_args::TensorArgs;
use lookout_model::load_raw;
use tch::{Kind, Tensor};

use crate::{WrongInput, network};

pub(crate) fn run(args: &TensorArgs) -> anyhow::Result<ExitCode> {
    let settings = network::settings(&args.network, &args.precision)?;
    let x = read_input(args).context(WrongInput)?;
    let network = load_raw(&settings).map_err(anyhow::Error::from).context(WrongInput)?;
    let logits = network.try_forward(&x)?;
    Tensor::write_safetensors(&[("logits", &logits)], &args.output)
        .with_context(|| format!("{} cannot be written", args.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn read_input(args: &TensorArgs) -> anyhow::Result<Tensor> {
    let path = args.input.display();
    network::readable(&args.input)?;
    let tensors = Tensor::read_safetensors(&args.input).with_context(|| format!("{path} cannot be read"))?;
    let names: Vec<_> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let Some((_, x)) = tensors.into_iter().find(|(name, _)| name == "x") else {
        bail!("{path} holds no tensor `x`; it holds {names:?}");
    };
    match x.size().as_slice() {
        [_, 3, 32.., 32..] if x.kind() == Kind::Float => Ok(x),
        size => bail!(
            "`x` in {path} is {size:?} of {:?}; it has to be [N, 3, H, W] of Float, H and W at least 32",
            x.kind()
        ),
    }
}
