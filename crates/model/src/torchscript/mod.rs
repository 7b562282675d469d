//! TorchScript modules: networks that consist of a program and its weights in one file.
//!
//! docs/pipeline-file.md describes the input and the output of a module. Loading a module means running its
//! program, so a file from an untrusted source must not be loaded.

mod file;
mod output;

use std::{path::Path, sync::Arc};

use lookout_config::{ModelSettings, OutputKind, Precision as PrecisionSetting};
use lookout_schema::Size;
use tch::{CModule, Device, IValue, Kind, Tensor};

pub use self::output::ScriptBoxes;
use crate::{script_error, script_error::ScriptError, target::Target};

/// A TorchScript module for inference, on its device. A clone shares the module, because `forward` does not
/// modify it.
#[derive(Debug, Clone)]
pub struct PreparedScript {
    module: Arc<CModule>,
    output: OutputKind,
    target: Target,
}

/// The output of a module for a batch, on the CPU.
#[derive(Debug)]
pub enum ScriptOutput {
    /// Class logits, `[N, K]` in fp32.
    Logits(Tensor),
    /// Detections, one element per image.
    Boxes(Vec<ScriptBoxes>),
}

impl PreparedScript {
    /// Loads the TorchScript file that `settings` name as `weights` onto the device of `target`. Returns the
    /// module and the file's digest. The module's input is always fp32, whatever dtype it computes in.
    ///
    /// # Errors
    /// The settings name no file, do not say which output the module returns, or request a precision other than
    /// fp32; the file is missing or not a TorchScript module; or the module needs an operator that libtorch
    /// lacks.
    pub(crate) fn load(settings: &ModelSettings, target: Target) -> Result<(Self, String), ScriptError> {
        let weights = settings.weights.as_str();
        if weights == "torchvision" || weights.starts_with("random:") {
            return Err(ScriptError::NoFileNamed { weights: weights.to_owned() });
        }
        let output = settings.output.ok_or(ScriptError::NoOutputNamed)?;
        if !matches!(settings.precision, PrecisionSetting::Auto | PrecisionSetting::Fp32) {
            return Err(ScriptError::Precision);
        }
        let path = Path::new(weights);
        let (file, digest) = file::read(path)?;
        let refused = |error| script_error::refused(path, &error);
        let mut module =
            CModule::load_data_on_device(&mut file.as_slice(), target.device).map_err(refused)?;
        module.f_set_eval().map_err(refused)?;
        Ok((Self { module: Arc::new(module), output, target: target.in_fp32() }, digest))
    }

    pub fn target(&self) -> Target {
        self.target
    }

    /// Runs the module on `x` `[N, 3, H, W]`, normalized, of any dtype and on any device.
    ///
    /// # Errors
    /// The module fails, or its output does not have the configured form.
    pub fn forward(&self, x: &Tensor) -> Result<ScriptOutput, ScriptError> {
        Ok(match self.output {
            OutputKind::Logits => ScriptOutput::Logits(self.logits(x)?),
            OutputKind::BoxesScoresLabels => ScriptOutput::Boxes(self.boxes(x)?),
        })
    }

    pub(crate) fn logits(&self, x: &Tensor) -> Result<Tensor, ScriptError> {
        self.run_module(x, OutputKind::Logits, output::logits)
    }

    pub(crate) fn boxes(&self, x: &Tensor) -> Result<Vec<ScriptBoxes>, ScriptError> {
        self.run_module(x, OutputKind::BoxesScoresLabels, output::boxes)
    }

    /// Runs the module on `x` and parses its output with `read`, which receives the number of images.
    fn run_module<T>(
        &self,
        x: &Tensor,
        kind: OutputKind,
        read: impl FnOnce(&IValue, i64) -> Option<T>,
    ) -> Result<T, ScriptError> {
        tch::no_grad(|| {
            let x = x.to_device(self.target.device).to_kind(Kind::Float).contiguous();
            let output = self.module.forward_is(&[IValue::Tensor(x.shallow_clone())]);
            let output = output.map_err(|error| script_error::failed(&x, &error))?;
            let images = x.size().first().copied().unwrap_or(0);
            read(&output, images).ok_or_else(|| script_error::mismatch(&x, kind, &output))
        })
    }

    /// Runs the module on one black image of the size `input`.
    ///
    /// # Errors
    /// As [`PreparedScript::forward`].
    pub(crate) fn dry_run(&self, input: Size) -> Result<ScriptOutput, ScriptError> {
        let size = [1, 3, i64::from(input.height), i64::from(input.width)];
        self.forward(&Tensor::zeros(size, (Kind::Float, Device::Cpu)))
    }
}
