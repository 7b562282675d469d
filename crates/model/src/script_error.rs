//! Errors of loading and running TorchScript modules.

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
};

use lookout_config::OutputKind;
use tch::{IValue, TchError, Tensor};
use thiserror::Error;

use crate::libtorch_error::without_trace;

/// The reason why a TorchScript module cannot be used.
#[derive(Debug, Error)]
pub enum ScriptError {
    #[error(
        "`{weights}` is not valid as `weights` of `arch = \"torchscript\"`; give a file with an exported module, \
         which includes its weights"
    )]
    NoFileNamed { weights: String },
    #[error(
        "the output of a TorchScript module has to be declared: set `output` (`--output-kind`) to `logits` for a \
         classifier, or to `boxes_scores_labels` for a detector"
    )]
    NoOutputNamed,
    #[error(
        "a TorchScript module receives fp32 and computes in the dtype that it was exported with; use `fp32` or \
         `auto`, and for bf16 or fp16 export a module that converts its input"
    )]
    Precision,
    #[error("cannot read the module {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the module {} is not a file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is not a TorchScript module: {what}", path.display())]
    NotAModule { path: PathBuf, what: &'static str },
    #[error(
        "the module {} needs the operator `{operator}`, which libtorch does not have; {}", path.display(),
        instead_of(operator)
    )]
    Operator { path: PathBuf, operator: String },
    #[error("libtorch cannot load the module {}: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    #[error("the module failed on `x` {x}: {reason}")]
    Failed { x: String, reason: String },
    #[error("the module returned {came} for `x` {x}, and its output must be {wanted}")]
    Mismatch { x: String, came: String, wanted: &'static str },
}

/// Returns advice for a missing operator.
fn instead_of(operator: &str) -> &'static str {
    if operator.starts_with("torchvision::") {
        "torchvision's operators exist only in its Python package. For torchvision's own detectors, use Lookout's \
         `arch` of the same name and save `model.state_dict()`; for another network, export a module that does \
         NMS with torch's own operators"
    } else {
        "it comes from a package other than torch. Export the module without it"
    }
}

/// Converts libtorch's error for a module that it cannot load.
pub(crate) fn refused(path: &Path, error: &TchError) -> ScriptError {
    let text = error.to_string();
    let path = path.to_owned();
    let unknown =
        text.split_once("Unknown builtin op: ").and_then(|(_, rest)| rest.split_whitespace().next());
    match unknown {
        Some(operator) => ScriptError::Operator { path, operator: operator.trim_end_matches('.').to_owned() },
        None => ScriptError::Refused { path, reason: without_trace(&text).to_owned() },
    }
}

/// Converts libtorch's error of a module that failed on `x`.
pub(crate) fn failed(x: &Tensor, error: &TchError) -> ScriptError {
    let text = error.to_string();
    let text = without_trace(&text);
    // The TorchScript interpreter's stack trace precedes the error itself.
    let reason = text.rsplit_once("RuntimeError: ").map_or(text, |(_, reason)| reason);
    ScriptError::Failed { x: of_tensor(x), reason: reason.trim().to_owned() }
}

/// Returns the error for `output`, which a module of `kind` must not return for `x`.
pub(crate) fn mismatch(x: &Tensor, kind: OutputKind, output: &IValue) -> ScriptError {
    let wanted = match kind {
        OutputKind::Logits => {
            "`logits`: one tensor [N, K] of floats, one row per image. Wrap the module so that it returns this; a \
             detector's output is `boxes_scores_labels`"
        }
        OutputKind::BoxesScoresLabels => {
            "`boxes_scores_labels`: a list of N dicts with `boxes` [M, 4], `scores` [M] and `labels` [M], a list of N \
             such tuples, or one tuple of boxes [N, M, 4], scores [N, M] and labels [N, M]; labels of Int64, the \
             rest of floats. Wrap the module so that it returns one of these; a classifier's output is `logits`"
        }
    };
    let mut came = String::new();
    describe(output, &mut came);
    ScriptError::Mismatch { x: of_tensor(x), came, wanted }
}

/// Maximum number of elements of a list or tuple that an error text describes.
const NAMED: usize = 3;

fn describe(output: &IValue, text: &mut String) {
    match output {
        IValue::Tensor(tensor) => text.push_str(&of_tensor(tensor)),
        IValue::Tuple(parts) => describe_all("a tuple of", parts.iter(), text),
        IValue::GenericList(parts) => describe_all("a list of", parts.iter(), text),
        IValue::TensorList(parts) => {
            let parts: Vec<IValue> = parts.iter().map(|part| IValue::Tensor(part.shallow_clone())).collect();
            describe_all("a list of", parts.iter(), text);
        }
        IValue::GenericDict(items) => {
            text.push_str("a dict {");
            for (n, (name, value)) in items.iter().enumerate() {
                text.push_str(if n > 0 { ", " } else { "" });
                match name {
                    IValue::String(name) => text.push_str(name),
                    other => describe(other, text),
                }
                text.push_str(": ");
                describe(value, text);
            }
            text.push('}');
        }
        IValue::None => text.push_str("nothing"),
        IValue::Object(_) => text.push_str("an object"),
        // Writing to a String does not fail.
        other => _ = write!(text, "{other:?}"),
    }
}

fn describe_all<'v>(what: &str, parts: impl ExactSizeIterator<Item = &'v IValue>, text: &mut String) {
    let count = parts.len();
    _ = write!(text, "{what} {count} (");
    for (n, part) in parts.take(NAMED).enumerate() {
        text.push_str(if n > 0 { ", " } else { "" });
        describe(part, text);
    }
    text.push_str(if count > NAMED { ", ...)" } else { ")" });
}

fn of_tensor(tensor: &Tensor) -> String {
    format!("{:?} of {:?}", tensor.size(), tensor.kind())
}
