//! Networks that come as TorchScript modules: a program and its weights in one file.
//!
//! What a module is given and what it has to give is said in docs/pipeline-file.md. Its program is run; a
//! file from a stranger is a program from a stranger.

mod at_work;
mod error;
mod file;
mod output;

use std::{path::Path, sync::Arc};

use lookout_config::{ModelSettings, OutputKind, Precision as PrecisionSetting};
use lookout_schema::Size;
use tch::{CModule, Device, IValue, Kind, Tensor};

pub(crate) use self::at_work::ScriptAtWork;
pub use self::{error::ScriptError, output::ScriptBoxes};
use crate::target::Target;

/// A TorchScript module for inference, on its device. A clone shares the module: `forward` only reads it.
#[derive(Debug, Clone)]
pub struct PreparedScript {
    module: Arc<CModule>,
    output: OutputKind,
    target: Target,
}

/// What a module says of a batch, on the CPU.
#[derive(Debug)]
pub enum ScriptOutput {
    /// `[N, K]` in fp32.
    Logits(Tensor),
    /// One for each picture.
    Boxes(Vec<ScriptBoxes>),
}

impl PreparedScript {
    /// Loads the module of `settings`, whose `weights` are its file, onto the device of `target`; and the
    /// file's digest. It will be given fp32, whatever it computes in.
    ///
    /// # Errors
    /// No file, a file of another kind, a module that needs what libtorch does not have; settings that do not
    /// say what it gives, or that ask for another precision.
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
        let refused = |error| error::refused(path, &error);
        let mut module =
            CModule::load_data_on_device(&mut file.as_slice(), target.device).map_err(refused)?;
        module.f_set_eval().map_err(refused)?;
        Ok((Self { module: Arc::new(module), output, target: target.in_fp32() }, digest))
    }

    pub fn target(&self) -> Target {
        self.target
    }

    /// `x` `[N, 3, H, W]`, normalized, of any type and on any device, to what the module says of it.
    ///
    /// # Errors
    /// The module failed, or gave something else than it has to.
    pub fn forward(&self, x: &Tensor) -> Result<ScriptOutput, ScriptError> {
        Ok(match self.output {
            OutputKind::Logits => ScriptOutput::Logits(self.logits(x)?),
            OutputKind::BoxesScoresLabels => ScriptOutput::Boxes(self.boxes(x)?),
        })
    }

    fn logits(&self, x: &Tensor) -> Result<Tensor, ScriptError> {
        self.said(x, OutputKind::Logits, output::logits)
    }

    fn boxes(&self, x: &Tensor) -> Result<Vec<ScriptBoxes>, ScriptError> {
        self.said(x, OutputKind::BoxesScoresLabels, output::boxes)
    }

    /// What the module says of `x`, which `read` takes apart for so many pictures.
    fn said<T>(
        &self,
        x: &Tensor,
        kind: OutputKind,
        read: impl FnOnce(&IValue, i64) -> Option<T>,
    ) -> Result<T, ScriptError> {
        tch::no_grad(|| {
            let x = x.to_device(self.target.device).to_kind(Kind::Float).contiguous();
            let said = self.module.forward_is(&[IValue::Tensor(x.shallow_clone())]);
            let said = said.map_err(|error| error::failed(&x, &error))?;
            let pictures = x.size().first().copied().unwrap_or(0);
            read(&said, pictures).ok_or_else(|| error::mismatch(&x, kind, &said))
        })
    }

    /// What the module says of one black picture of `input`.
    ///
    /// # Errors
    /// As [`PreparedScript::forward`].
    fn dry_run(&self, input: Size) -> Result<ScriptOutput, ScriptError> {
        let size = [1, 3, i64::from(input.height), i64::from(input.width)];
        self.forward(&Tensor::zeros(size, (Kind::Float, Device::Cpu)))
    }
}
