//! Weights: reads them from files, applies them to networks, and fetches the files that torchvision publishes.

mod apply;
mod assemble;
mod cache;
mod eight_bit;
mod error;
mod fetch;
mod finite;
mod names;
mod part;
mod pickle;
mod prefix;
mod published;
mod read;
mod safetensors_file;
mod torch_legacy;
mod torch_zip;

pub use apply::{Misfit, Misshapen, apply};
pub use cache::cache_dir;
pub use error::{FetchError, FormatError, WeightsError};
pub use fetch::{Fetch, Progress, fetch_torchvision};
pub use part::sweep;
pub(crate) use prefix::taken;
pub use published::{Accuracy, PUBLISHED, Published, published};
pub(crate) use read::digest;
pub use read::{StateDict, read};
