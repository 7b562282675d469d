//! A pipeline file as a whole.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use lookout_schema::WorkerId;
use toml::de::DeTable;

use crate::{
    Brokers, CameraSettings, ClassifySettings, ConfigError, FleetSettings, KafkaSettings, Mistake,
    ModelSettings,
    expand::Env,
    reader::{Reader, Section},
};

/// A valid pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineSettings {
    pub name: String,
    pub model: ModelSettings,
    pub classify: Option<ClassifySettings>,
    pub infer: InferSettings,
    pub batch: BatchSettings,
    pub kafka: KafkaSettings,
    pub worker: WorkerSettings,
    /// Each with its own id; none where they are the registry's, and at least one otherwise.
    pub cameras: Vec<CameraSettings>,
    /// There where the cameras are those that workers share.
    pub fleet: Option<FleetSettings>,
}

/// `[infer]`: which frames the network looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferSettings {
    /// Every so many frames of a camera; the others are dropped.
    pub every: NonZeroU32,
}

/// `[batch]`: when a batch is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    pub max_size: usize,
    /// How long a frame may wait for others while the device is busy.
    pub max_wait: Duration,
    /// Age at which a live frame is dropped rather than looked at.
    pub max_age: Duration,
}

/// `[worker]`: the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// None takes the host's name.
    pub id: Option<WorkerId>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; none serves them nowhere.
    pub http: Option<SocketAddr>,
    /// How long a stopping worker may take to bring its frames to the broker.
    pub drain: Duration,
    pub status_interval: Duration,
    /// Age of frames above which cameras are looked at less often, those of low priority first.
    pub latency_budget: Option<Duration>,
}

/// Reads a pipeline file. Relative paths in it start from the file's folder; `env` gives the value of an
/// environment variable.
pub fn parse(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<PipelineSettings, ConfigError> {
    document(file, text, env as Env<'_>, PipelineSettings::read)
}

/// Reads a TOML document whose relative paths start from the file's folder; all its mistakes at once.
pub(crate) fn document<T>(
    file: &Path,
    text: &str,
    env: Env<'_>,
    read: impl FnOnce(Section<'_, '_>, &Path) -> Option<T>,
) -> Result<T, ConfigError> {
    let fail = |mistakes| ConfigError { file: file.to_owned(), mistakes };
    let base = file.parent().map(PathBuf::from).unwrap_or_default();
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
        fail(vec![Mistake { line, key: String::new(), what: format!("no valid TOML: {}", error.message()) }])
    })?;
    let reader = Reader::new(text, env);
    let settings = read(Section::root(&reader, document.get_ref()), &base);
    let mistakes = reader.into_mistakes();
    match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => Err(fail(mistakes)),
    }
}

impl PipelineSettings {
    fn read(root: Section<'_, '_>, base: &Path) -> Option<Self> {
        let name = root.text("name");
        root.need("name", "`name` is needed: what this pipeline is called in logs");
        if name.as_deref() == Some("") {
            root.note("name", "the name is empty");
        }
        let model = ModelSettings::read(root.section("model"), base);
        let classify = root
            .optional_section("classify")
            .map(|section| ClassifySettings::read(section, base, model.as_ref()));
        let infer = InferSettings::read(root.section("infer"));
        let batch = BatchSettings::read(root.section("batch"));
        let kafka = KafkaSettings::read(root.section("kafka"));
        let worker = WorkerSettings::read(root.section("worker"));
        let shared = root.choice("cameras", &[("registry", ())]).is_some();
        let fleet = FleetSettings::read(root.section("fleet"), base);
        let sections = root.sections("camera");
        if shared {
            check_shared(&root, sections.is_some(), kafka.as_ref(), &worker, &fleet);
        } else {
            let no_camera = "there is no camera; write one `[[camera]]` with `id` and `uri` at least, or \
                             `cameras = \"registry\"`";
            if !root.has("cameras") {
                root.need("camera", no_camera);
            }
            if sections.as_ref().is_some_and(Vec::is_empty) {
                root.note("camera", no_camera);
            }
            if root.has("fleet") {
                root.note("fleet", "this is for `cameras = \"registry\"` only");
            }
        }
        let mut cameras: Vec<CameraSettings> = Vec::new();
        let mut first_of = BTreeMap::new();
        for (i, section) in sections.into_iter().flatten().enumerate() {
            if let Some(camera) = CameraSettings::read(&section, base) {
                if let Some(first) = first_of.get(&camera.id) {
                    let what =
                        format!("`camera[{first}]` has the id `{}` too; an id names one camera", camera.id);
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
                                "`{key}` chooses among detections, and [model] is a classifier, which finds none; give [model] a detector, or take `{key}` out"
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
            cameras,
            fleet,
        })
    }
}

impl InferSettings {
    fn read(section: Section<'_, '_>) -> Self {
        let every = section.integer("every", 1..=10_000).and_then(|n| NonZeroU32::new(n as u32));
        section.finish();
        Self { every: every.unwrap_or(NonZeroU32::MIN) }
    }
}

/// What goes together with the registry's cameras.
fn check_shared(
    root: &Section<'_, '_>,
    own_cameras: bool,
    kafka: Option<&KafkaSettings>,
    worker: &WorkerSettings,
    fleet: &FleetSettings,
) {
    if own_cameras {
        let what = "the cameras are the registry's, and this is one beside them; leave out `cameras = \
                    \"registry\"`, or bring this into the registry with `lookout cameras import`";
        root.note("camera", what);
    }
    if kafka.is_some_and(|kafka| kafka.brokers == Brokers::Embedded) {
        root.note("cameras", "the registry lives in a Kafka that workers share; set `brokers` in [kafka]");
    }
    if fleet.static_member && worker.id.is_none() {
        root.note("fleet", "`static_member` needs an `id` in [worker] that is this worker's alone");
    }
}

impl BatchSettings {
    fn read(section: Section<'_, '_>) -> Self {
        let settings = Self {
            max_size: section.integer("max_size", 1..=1024).unwrap_or(8) as usize,
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
            http: section.text("http").and_then(|text| {
                let address = text.parse();
                if address.is_err() {
                    section.note(
                        "http",
                        format!("`{text}` is no address; write IP:PORT, such as `127.0.0.1:9600`"),
                    );
                }
                address.ok()
            }),
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
