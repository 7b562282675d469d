//! Configuration files: TOML to validated settings.
//!
//! [`read`] reads a pipeline file, [`read_monitor`] and [`read_adas`] the files of the consumers, and
//! [`read_recipe`] a training recipe. [`parse`] and the other parse functions take the text of a file and do
//! no I/O. All errors of a file are reported at once, each with its line, the path of its key, what is wrong
//! and what to do. The returned settings are valid and need no further checks.
#![warn(missing_docs)]

mod adas;
mod archs;
mod camera;
mod classify;
mod diagnostic;
mod document;
mod expand;
mod file;
mod fleet;
mod kafka;
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
pub use diagnostic::{ConfigError, Diagnostic};
pub use file::{AnySettings, ReadError, parse_any, read, read_adas, read_any, read_monitor};
pub use fleet::{FleetSettings, WhenDisconnected};
pub use kafka::{Brokers, KafkaSettings};
pub use lookout_schema::TrackerAlgorithm;
pub use model::{Device, ModelSettings, OutputKind, Precision, ResizeModeSetting, UnknownName, input_size};
pub use monitor::{
    MonitorPlaces, MonitorSettings, Pattern, RuleReader, RuleSettings, RuleSubject, StartFrom,
    TrackingSettings, WebhookSettings, parse_monitor,
};
pub use pipeline::{BatchSettings, InferSettings, PipelineSettings, WorkerSettings, parse};
pub use reader::Section;
pub use recipe::{
    AugmentSettings, ClassWeights, DATA_KINDS, DataSettings, ExifOrientation, FitSettings, LossSettings,
    OptimizerSettings, RecipeModel, RecipeSettings, Rule, ScheduleSettings, Shape, SourceSettings,
    parse_recipe, read_recipe,
};
pub use registry::{Secrets, registry_camera, variables_outside};
pub use secret::Secret;
pub use snapshots::SnapshotSettings;
pub use uri::{Credentials, InvalidUri, SourceUri, TestPattern};
