//! Pipeline files: TOML to validated settings.
//!
//! A monitor's file is read alike, by [`read_monitor`] and [`parse_monitor`]. [`read`] takes a file and [`parse`] its text, which does no I/O. Every mistake of a file is reported at
//! once, each with its line, its key's path, what is wrong and what to do. Settings that come out are valid;
//! nothing checks them again.

mod camera;
mod classify;
mod expand;
mod file;
mod fleet;
mod kafka;
mod mistake;
mod model;
mod monitor;
mod pipeline;
mod reader;
mod registry;
mod secret;
mod snapshots;
mod uri;

pub use camera::{CameraSettings, RetrySettings, RtspTransport};
pub use classify::ClassifySettings;
pub use file::{AnySettings, ReadError, read, read_any, read_monitor};
pub use fleet::FleetSettings;
pub use kafka::{Brokers, KafkaSettings};
pub use mistake::{ConfigError, Mistake};
pub use model::{
    ARCHS, Device, FitSetting, ModelSettings, OutputKind, Precision, TORCHSCRIPT, UnknownName, input_size,
};
pub use monitor::{
    Begin, MonitorPlaces, MonitorSettings, Pattern, RuleKind, RuleSettings, TrackingSettings,
    WebhookSettings, is_monitor, parse_monitor,
};
pub use pipeline::{BatchSettings, InferSettings, PipelineSettings, WorkerSettings, parse};
pub use registry::{Secrets, registry_camera, variables_outside};
pub use secret::Secret;
pub use snapshots::SnapshotSettings;
pub use uri::{Credentials, InvalidUri, SourceUri, TestPicture};
