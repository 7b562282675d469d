//! Pipeline files and recipes: TOML to validated settings.
//!
//! A monitor's file is read alike, by [`read_monitor`] and [`parse_monitor`], and a recipe by [`read_recipe`] and
//! [`parse_recipe`]. [`read`] takes a pipeline file and [`parse`] its text, which does no I/O. Every mistake of a file is reported at
//! once, each with its line, its key's path, what is wrong and what to do. Settings that come out are valid;
//! nothing checks them again.

mod adas;
mod archs;
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
mod recipe;
mod registry;
mod secret;
mod snapshots;
mod uri;
mod user_info;

pub use adas::{
    AdasSettings, Calibration, CorridorSettings, ForwardSettings, Lens, LevelSettings, PathSettings,
};
pub use archs::{
    ARCHS, Arch, BatchNorms, TORCHSCRIPT, Task, arch_list, arch_names, arch_names_of, is_arch_of,
};
pub use camera::{CameraSettings, DecoderChoice, RetrySettings, RtspTransport};
pub use classify::ClassifySettings;
pub use file::{AnySettings, ReadError, parse_any, read, read_adas, read_any, read_monitor};
pub use fleet::FleetSettings;
pub use kafka::{Brokers, KafkaSettings};
pub use mistake::{ConfigError, Mistake};
pub use model::{Device, FitSetting, ModelSettings, OutputKind, Precision, UnknownName, input_size};
pub use monitor::{
    Begin, MonitorPlaces, MonitorSettings, Pattern, RuleKind, RuleSettings, TrackingSettings,
    WebhookSettings, parse_monitor,
};
pub use pipeline::{BatchSettings, InferSettings, PipelineSettings, WorkerSettings, parse};
pub use recipe::{
    AugmentSettings, ClassWeights, DATA_KINDS, DataSettings, ExifOrientation, FitSettings, LossSettings,
    OptimizerSettings, RecipeModel, RecipeSettings, Rule, ScheduleSettings, Shape, SourceSettings,
    parse_recipe, read_recipe,
};
pub use registry::{Secrets, registry_camera, variables_outside};
pub use secret::Secret;
pub use snapshots::SnapshotSettings;
pub use uri::{Credentials, InvalidUri, SourceUri, TestPicture};
