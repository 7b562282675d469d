//! Pipeline files and recipes: TOML to validated settings.
//!
//! [`read`] takes a pipeline file and [`parse`] its text, which does no I/O; [`read_recipe`] and [`parse_recipe`]
//! take a recipe. Every mistake of a file is reported at
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
mod pipeline;
mod reader;
mod recipe;
mod registry;
mod secret;
mod uri;

pub use camera::{CameraSettings, RetrySettings, RtspTransport};
pub use classify::ClassifySettings;
pub use file::{ReadError, read};
pub use fleet::FleetSettings;
pub use kafka::{Brokers, KafkaSettings};
pub use mistake::{ConfigError, Mistake};
pub use model::{
    ARCHS, Device, FitSetting, ModelSettings, OutputKind, Precision, TORCHSCRIPT, UnknownName, input_size,
};
pub use pipeline::{BatchSettings, InferSettings, PipelineSettings, WorkerSettings, parse};
pub use recipe::{
    ClassWeights, DATA_KINDS, DataSettings, FitSettings, LossSettings, OptimiserSettings, RecipeModel,
    RecipeSettings, Rule, ScheduleSettings, Shape, SourceSettings, parse_recipe, read_recipe,
};
pub use registry::{Secrets, registry_camera, variables_outside};
pub use secret::Secret;
pub use uri::{Credentials, InvalidUri, SourceUri, TestPicture};
