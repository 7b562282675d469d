//! Weights: reads them from files, applies them to networks, and downloads published files.

mod apply;
mod assemble;
mod cache;
mod eight_bit;
mod error;
mod fetch;
mod finite;
mod layout;
mod misfit;
mod names;
mod part;
mod pickle;
mod prefix;
mod published;
mod read;
mod safetensors_file;
mod shortened;
mod state_dict;
mod torch_legacy;
mod torch_zip;

pub use apply::apply;
pub use cache::cache_dir;
pub use error::{FetchError, FormatError, WeightsError};
pub use fetch::{Fetch, Progress};
pub use layout::Layout;
pub use misfit::{Misfit, Misshapen};
pub use part::sweep;
pub(crate) use prefix::taken;
pub use published::{Accuracy, Published};
pub(crate) use read::digest;
pub use read::read;
pub use state_dict::StateDict;
