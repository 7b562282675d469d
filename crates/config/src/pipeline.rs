//! Pipeline files.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::Path, time::Duration};

use lookout_schema::WorkerId;

use crate::{
    Brokers, CameraSettings, ClassifySettings, ConfigError, FleetSettings, KafkaSettings, ModelSettings,
    SnapshotSettings, document::parse_with, expand::Env, reader::Section,
};

/// A valid pipeline file.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineSettings {
    /// Name of the pipeline.
    pub name: String,
    /// `[model]`: the network.
    pub model: ModelSettings,
    /// `[classify]`: the secondary classifier, if there is one.
    pub classify: Option<ClassifySettings>,
    /// `[infer]`.
    pub infer: InferSettings,
    /// `[batch]`.
    pub batch: BatchSettings,
    /// `[kafka]`.
    pub kafka: KafkaSettings,
    /// `[worker]`.
    pub worker: WorkerSettings,
    /// `None` if no snapshots are published.
    pub snapshots: Option<SnapshotSettings>,
    /// The cameras, each with its own id. Empty if the cameras are those of the registry; otherwise there is
    /// at least one.
    pub cameras: Vec<CameraSettings>,
    /// Set if the cameras are those of the registry.
    pub fleet: Option<FleetSettings>,
}

/// `[infer]`: which frames the network processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferSettings {
    /// N to process every Nth frame of a camera. The other frames are dropped.
    pub interval: NonZeroU32,
}

/// `[batch]`: how frames are collected into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Maximum number of frames in a batch; see [`BatchSettings::largest`].
    pub max_size: Option<usize>,
    /// How long a frame waits for others to fill the batch while the device is busy.
    pub max_wait: Duration,
    /// Age above which frames of live cameras are dropped.
    pub max_age: Duration,
}

/// `[worker]`: settings of the worker process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// `None` selects the host name.
    pub id: Option<WorkerId>,
    /// Listen address of `/healthz`, `/readyz` and `/metrics`; `None` if they are not served.
    pub http: Option<SocketAddr>,
    /// How long a worker that is stopping may take to publish its in-flight frames.
    pub drain: Duration,
    /// Interval of the status records.
    pub status_interval: Duration,
    /// Age of live frames above which the worker processes fewer frames, of cameras with a low priority
    /// first.
    pub latency_budget: Option<Duration>,
}

/// Parses the text of a pipeline file. Relative paths in it are relative to the file's folder. `env` returns
/// the value of an environment variable.
///
/// # Examples
/// ```
/// let text = r#"
/// name = "gate"
/// [model]
/// arch = "resnet50"
/// weights = "random:0"
/// [kafka]
/// brokers = "embedded"
/// [[camera]]
/// id = "north"
/// uri = "rtsp://192.0.2.7/stream"
/// "#;
/// let pipeline = lookout_config::parse("gate.toml".as_ref(), text, &|_| None)?;
/// assert_eq!(pipeline.cameras[0].id.as_str(), "north");
///
/// let error = lookout_config::parse("gate.toml".as_ref(), &text.replace("uri", "url"), &|_| None).unwrap_err();
/// assert!(error.to_string().contains("did you mean `uri`?"));
/// # Ok::<(), lookout_config::ConfigError>(())
/// ```
///
/// # Errors
/// Returns all errors of the file.
pub fn parse(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<PipelineSettings, ConfigError> {
    parse_with(file, text, env as Env<'_>, PipelineSettings::read)
}

impl PipelineSettings {
    fn read(root: Section<'_, '_>, base: &Path) -> Option<Self> {
        let name = root.text("name");
        root.need("name", "`name` is required: the name of this pipeline in logs");
        if name.as_deref() == Some("") {
            root.note("name", "the name is empty");
        }
        let model = ModelSettings::read(root.section("model"), base);
        let classify = root
            .optional_section("classify")
            .map(|section| ClassifySettings::read(section, base, model.as_ref()));
        let infer = InferSettings::read(root.section("infer"));
        let batch = BatchSettings::read(root.section("batch"));
        let kafka = KafkaSettings::read(root.section("kafka"), base);
        let worker = WorkerSettings::read(root.section("worker"));
        let snapshots = root.optional_section("snapshots").map(SnapshotSettings::read);
        let shared = root.choice("cameras", &[("registry", ())]).is_some();
        let fleet = FleetSettings::read(root.section("fleet"), base);
        let sections = root.sections("camera");
        if shared {
            check_shared(&root, sections.is_some(), kafka.as_ref(), &worker, &fleet);
        } else {
            let no_camera = "there is no camera; add a `[[camera]]` with at least `id` and `uri`, or set \
                             `cameras = \"registry\"`";
            if !root.has("cameras") {
                root.need("camera", no_camera);
            }
            if sections.as_ref().is_some_and(Vec::is_empty) {
                root.note("camera", no_camera);
            }
            if root.has("fleet") {
                root.note(
                    "fleet",
                    "[fleet] is for `cameras = \"registry\"` only; set that, or remove [fleet]",
                );
            }
        }
        let mut cameras: Vec<CameraSettings> = Vec::new();
        let mut first_of = BTreeMap::new();
        for (i, section) in sections.into_iter().flatten().enumerate() {
            if let Some(camera) = CameraSettings::read(&section, base) {
                if let Some(first) = first_of.get(&camera.id) {
                    let what = format!(
                        "`camera[{first}]` has the same id `{}`; each camera needs its own id",
                        camera.id
                    );
                    section.note("id", what);
                } else {
                    first_of.insert(camera.id.clone(), i);
                }
                if model.as_ref().is_some_and(ModelSettings::is_classifier) {
                    for (key, set) in
                        [("classes", !camera.classes.is_empty()), ("regions", !camera.regions.is_empty())]
                    {
                        if set {
                            let what = format!(
                                "`{key}` filters detections, and [model] is a classifier, which has none; use a detector in \
                                 [model], or remove `{key}`"
                            );
                            section.note(key, what);
                        }
                    }
                }
                cameras.push(camera);
            }
            section.finish();
        }
        root.finish();
        let fleet = shared.then_some(fleet);
        let classify = match classify {
            Some(classify) => Some(classify?),
            None => None,
        };
        Some(Self {
            name: name?,
            model: model?,
            classify,
            infer,
            batch,
            kafka: kafka?,
            worker,
            snapshots,
            cameras,
            fleet,
        })
    }
}

impl InferSettings {
    fn read(section: Section<'_, '_>) -> Self {
        let interval = section.integer("interval", 1..=10_000).and_then(|n| NonZeroU32::new(n as u32));
        section.finish();
        Self { interval: interval.unwrap_or(NonZeroU32::MIN) }
    }
}

/// Checks the settings that `cameras = "registry"` requires or excludes.
fn check_shared(
    root: &Section<'_, '_>,
    own_cameras: bool,
    kafka: Option<&KafkaSettings>,
    worker: &WorkerSettings,
    fleet: &FleetSettings,
) {
    if own_cameras {
        let what = "with `cameras = \"registry\"`, a pipeline file has no cameras of its own; remove that line, or \
                    move the cameras to the registry with `lookout cameras import`";
        root.note("camera", what);
    }
    if kafka.is_some_and(|kafka| kafka.brokers == Brokers::Embedded) {
        root.note(
            "cameras",
            "the registry requires a Kafka cluster that all workers share; set `brokers` in [kafka]",
        );
    }
    if fleet.static_member && worker.id.is_none() {
        root.note("fleet", "`static_member` needs an `id` in [worker] that no other worker has");
    }
}

impl BatchSettings {
    /// Returns the maximum number of frames in a batch. The default is higher on a GPU, which needs larger
    /// batches to be fully used.
    pub fn largest(&self, on_gpu: bool) -> usize {
        self.max_size.unwrap_or(if on_gpu { 64 } else { 8 })
    }

    fn read(section: Section<'_, '_>) -> Self {
        let settings = Self {
            max_size: section.integer("max_size", 1..=1024).map(|size| size as usize),
            max_wait: section.millis("max_wait_ms", 0..=10_000).unwrap_or(Duration::from_millis(5)),
            max_age: section.millis("max_age_ms", 1..=3_600_000).unwrap_or(Duration::from_millis(500)),
        };
        section.finish();
        settings
    }
}

impl WorkerSettings {
    fn read(section: Section<'_, '_>) -> Self {
        let settings = Self {
            id: section.parsed("id"),
            http: section.address("http"),
            drain: Duration::from_secs(section.integer("drain_s", 0..=3600).unwrap_or(10)),
            status_interval: section
                .millis("status_interval_ms", 100..=3_600_000)
                .unwrap_or(Duration::from_secs(5)),
            latency_budget: section.millis("latency_budget_ms", 1..=3_600_000),
        };
        section.finish();
        settings
    }
}
