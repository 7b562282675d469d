//! Pipeline files: TOML to validated settings.
//!
//! [`parse`] does no I/O and reports every mistake of a file at once, each with its line, its key's path,
//! what is wrong and what to do. Settings that come out of it are valid; nothing checks them again.

mod camera;
mod expand;
mod kafka;
mod mistake;
mod model;
mod pipeline;
mod reader;
mod secret;
mod uri;

pub use camera::{CameraSettings, RetrySettings, RtspTransport};
pub use kafka::{Brokers, KafkaSettings};
pub use mistake::{ConfigError, Mistake};
pub use model::{ARCHS, Device, FitSetting, ModelSettings, Precision, UnknownName, input_size};
pub use pipeline::{BatchSettings, PipelineSettings, WorkerSettings, parse};
pub use secret::Secret;
pub use uri::{Credentials, InvalidUri, SourceUri, TestPicture};
