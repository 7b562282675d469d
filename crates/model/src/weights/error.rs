//! Errors of reading, applying, fetching and writing weights.

use std::{io, path::PathBuf};

use tch::TchError;

use super::{Misfit, shortened::shortened};

/// The error of all functions that read, apply, fetch or write weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("cannot read the weights {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the weights {} are not a file", path.display())]
    NotAFile { path: PathBuf },
    #[error("the weights {} cannot be used", path.display())]
    Format { path: PathBuf, source: FormatError },
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error(
        "the file holds {} networks, under the prefixes {}; choose one: `lookout weights import FILE --prefix {} \
         --output OUT.safetensors`", prefixes.len(), quoted(prefixes), prefixes.first().map_or("PREFIX", String::as_str)
    )]
    Prefixes { prefixes: Vec<String> },
    #[error("no tensor name starts with `{prefix}`; the names start with {}", firsts.join(", "))]
    NoPrefix { prefix: String, firsts: Vec<String> },
    #[error("libtorch refused to copy the tensor {name}")]
    Copy { name: String, source: TchError },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the folder of the cache is unknown: set LOOKOUT_CACHE or HOME")]
    NoCache,
    #[error(
        "torchvision publishes no weights for {arch}; `lookout weights list` lists all published weights"
    )]
    NotPublished { arch: String },
    #[error(
        "cannot download {url}; download it on a machine that can reach it, and copy it to {}",
        place.display()
    )]
    Fetch { url: String, place: PathBuf, source: FetchError },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The reason why a published file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the server answered {status}")]
    Status { status: u16 },
    #[error(transparent)]
    Http(ureq::Error),
    #[error("the connection broke after {received} bytes")]
    Broken { received: u64, source: io::Error },
    #[error("received {received} bytes, and the published file has {expected:.3} MiB")]
    Size { received: u64, expected: f64 },
    #[error(
        "the SHA-256 of the received file is {found}, and that of the published file starts with {expected}"
    )]
    Digest { expected: &'static str, found: String },
    #[error("cannot store it in the cache")]
    Keep(#[source] io::Error),
}

/// The reason why the content of a file is not a readable state dict.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("it is neither a .safetensors file nor a file of torch.save")]
    Unknown,
    /// The content is that of another kind of file, such as a Git LFS pointer or an HTML page.
    #[error("it is {what}")]
    Impostor { what: &'static str },
    #[error("it is cut off after {bytes} bytes, perhaps by an interrupted download or copy; fetch it again")]
    CutOff { bytes: usize },
    #[error("it is cut off: {wanted} bytes are expected at byte {at}; fetch it again")]
    Truncated { at: usize, wanted: u64 },
    #[error("its pickle is malformed at byte {at}: {what}")]
    Pickle { at: usize, what: &'static str },
    #[error("its pickle holds the instruction {code:#04x} at byte {at}, which state dicts do not need")]
    Opcode { code: u8, at: usize },
    #[error(
        "it refers to the Python object {name}, and Lookout reads only tensors: \
         save `model.state_dict()` instead of the model or the whole checkpoint"
    )]
    Global { name: String },
    #[error("its pickle holds more than {limit} values")]
    TooManyValues { limit: usize },
    #[error("it holds {what}, which Lookout does not support")]
    Unsupported { what: &'static str },
    #[error("its bytes are in big-endian order: save it again on a little-endian machine")]
    BigEndian,
    #[error(
        "it is a TorchScript module, which contains its own network: use `arch = \"torchscript\"`, or save its \
         `state_dict()` instead"
    )]
    TorchScript,
    #[error("it holds no state dict; its top level has {found}")]
    NoTensors { found: String },
    #[error("it is malformed: {what}")]
    Malformed { what: String },
    #[error("two of its tensors are named {name}")]
    Duplicate { name: String },
    #[error("its tensor {name} is malformed: {what}")]
    Tensor { name: String, what: &'static str },
    #[error("its zip archive is malformed")]
    Zip(#[from] zip::result::ZipError),
    #[error("an entry of its zip archive cannot be read")]
    Entry(#[source] io::Error),
    #[error("its header is malformed")]
    Safetensors(#[from] safetensors::SafeTensorError),
    #[error(
        "{count} of the {numel} values of its tensor {name} are NaN or infinite, as after a training run that \
         diverged, and results with such weights are meaningless; use an earlier checkpoint"
    )]
    NotFinite { name: String, count: i64, numel: usize },
    #[error(
        "its tensor {name} is a variance and has negative values: the file is damaged; fetch it again, or use \
         an earlier checkpoint"
    )]
    NegativeVariance { name: String },
    #[error("libtorch refused its data")]
    Torch(#[from] TchError),
}

impl FormatError {
    pub(super) fn pickle(at: usize, what: &'static str) -> Self {
        Self::Pickle { at, what }
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }

    pub(super) fn tensor(name: &str, what: &'static str) -> Self {
        Self::Tensor { name: shortened(name), what }
    }

    pub(super) fn duplicate(name: &str) -> Self {
        Self::Duplicate { name: shortened(name) }
    }
}
