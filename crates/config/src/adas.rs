//! The configuration file of `lookout adas`: the forward-facing cameras, and the times to collision for
//! warnings.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use lookout_schema::{CameraId, TrackerAlgorithm};

use crate::{ConfigError, KafkaSettings, document::parse_with, expand::Env, reader::Section};

/// A valid configuration file of `lookout adas`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdasSettings {
    /// The consumer group. Processes of one group share the cameras.
    pub group: String,
    /// Age above which a record raises no warning.
    pub latency_budget: Duration,
    /// Whether the tracked objects are published on the tracks topic.
    pub publish_tracks: bool,
    /// Listen address of `/healthz` and `/metrics`; `None` if they are not served.
    pub http: Option<SocketAddr>,
    /// The brokers and topics.
    pub kafka: KafkaSettings,
    /// Settings of individual cameras, by id.
    pub cameras: BTreeMap<CameraId, ForwardSettings>,
    /// Settings of all other cameras; `None` if other cameras are ignored.
    pub others: Option<ForwardSettings>,
}

/// Settings of a forward-facing camera of a vehicle.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardSettings {
    /// The corridor that the vehicle needs.
    pub path: PathSettings,
    /// Labels of the objects that can raise warnings.
    pub labels: BTreeSet<String>,
    /// Minimum height of a box, in pixels. Lower boxes are ignored.
    pub min_box_px: f64,
    /// Times to collision at which warnings are raised.
    pub levels: LevelSettings,
    /// The tracking algorithm, from `[tracking]`.
    pub tracker: TrackerAlgorithm,
}

/// The vehicle's path in the camera's image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PathSettings {
    /// A corridor that the file gives in image coordinates.
    Drawn(CorridorSettings),
    /// A corridor that is calculated from the camera's mounting, which also allows distances to be estimated.
    Calibrated(Calibration),
}

/// A trapezoid that starts at the lower edge of the image, in fractions of the image's width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorridorSettings {
    /// Left and right end at the lower edge of the image.
    pub bottom: [f64; 2],
    /// Left and right end at `top_y`.
    pub top: [f64; 2],
    /// Upper edge, as a fraction of the image's height from the top.
    pub top_y: f64,
}

/// Mounting of a camera, for flat ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Height of the camera above the ground.
    pub height_m: f64,
    /// Positive if the camera points down.
    pub pitch_deg: f64,
    /// Positive if the camera points to the right of the driving direction.
    pub yaw_deg: f64,
    /// Focal length or field of view.
    pub lens: Lens,
    /// Width of the vehicle's corridor.
    pub corridor_m: f64,
}

/// Focal length or field of view of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lens {
    /// Focal length in pixels of the source frame.
    FocalPx(f64),
    /// Horizontal field of view in degrees.
    HfovDeg(f64),
}

/// Times to collision, in seconds, below which alerts of each level are raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelSettings {
    /// For level `info`; `None` if that level is off.
    pub info_ttc_s: Option<f64>,
    /// For level `warning`.
    pub warn_ttc_s: f64,
    /// For level `critical`.
    pub critical_ttc_s: f64,
}

impl Default for CorridorSettings {
    /// Returns the image of a 2.4 m wide corridor for a level camera that is 1.3 m above the ground and has a
    /// horizontal field of view of 60 degrees and an aspect ratio of 16:9.
    fn default() -> Self {
        Self { bottom: [0.24, 0.76], top: [0.474, 0.526], top_y: 0.55 }
    }
}

impl Default for LevelSettings {
    fn default() -> Self {
        Self { info_ttc_s: None, warn_ttc_s: 2.7, critical_ttc_s: 1.6 }
    }
}

impl Default for ForwardSettings {
    fn default() -> Self {
        let labels = ["person", "bicycle", "car", "motorcycle", "bus", "truck"];
        Self {
            path: PathSettings::Drawn(CorridorSettings::default()),
            labels: labels.map(Into::into).into(),
            min_box_px: 16.0,
            levels: LevelSettings::default(),
            tracker: TrackerAlgorithm::default(),
        }
    }
}

/// The `id` that matches all cameras without settings of their own.
const OTHERS: &str = "*";

impl AdasSettings {
    /// Returns the settings of `camera`, or `None` if the camera is ignored.
    pub fn of(&self, camera: &CameraId) -> Option<&ForwardSettings> {
        self.cameras.get(camera).or(self.others.as_ref())
    }

    /// Parses the text of a file. `env` returns the value of an environment variable.
    ///
    /// # Errors
    /// Returns all errors of the file.
    pub fn parse(file: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        parse_with(file, text, env as Env<'_>, Self::read)
    }

    fn read(root: Section<'_, '_>, base: &Path) -> Option<Self> {
        let adas = root.section("adas");
        root.need("adas", "`[adas]` is required in a file of `lookout adas`");
        let group = adas.text("group").unwrap_or_else(|| "lookout-adas".into());
        if group.is_empty() || group.len() > 200 {
            adas.note("group", "the name of a consumer group must have 1 to 200 bytes");
        }
        let latency_budget = adas.millis("latency_budget_ms", 1..=3_600_000);
        let publish_tracks = adas.boolean("publish_tracks").unwrap_or(true);
        let http = adas.address("http");
        adas.finish();
        let kafka = KafkaSettings::read(root.section("kafka"), base);
        let tracking = root.section("tracking");
        let tracker = tracking.parsed("algorithm").unwrap_or_default();
        tracking.finish();
        let (mut cameras, mut others) = read_cameras(&root);
        cameras.values_mut().chain(&mut others).for_each(|camera| camera.tracker = tracker);
        root.finish();
        Some(Self {
            group,
            latency_budget: latency_budget.unwrap_or(Duration::from_millis(300)),
            publish_tracks,
            http,
            kafka: kafka?,
            cameras,
            others,
        })
    }
}

/// Reads the settings of individual cameras by id, and those of all other cameras.
fn read_cameras(root: &Section<'_, '_>) -> (BTreeMap<CameraId, ForwardSettings>, Option<ForwardSettings>) {
    let no_camera = "there is no camera; add a `[[camera]]` with the camera's `id`, or with `id = \"*\"` for all \
                     cameras";
    root.need("camera", no_camera);
    let sections = root.sections("camera");
    if sections.as_ref().is_some_and(Vec::is_empty) {
        root.note("camera", no_camera);
    }
    let sections: Vec<_> =
        sections.into_iter().flatten().map(|section| (section.text("id"), section)).collect();
    // Every camera inherits from the `*` entry, even if that entry is not the first.
    let first = sections.iter().position(|(id, _)| id.as_deref() == Some(OTHERS));
    let others = first.map(|i| ForwardSettings::read(&sections[i].1, &ForwardSettings::default()));
    let base = others.clone().unwrap_or_default();
    let mut cameras = BTreeMap::new();
    for (i, (id, section)) in sections.into_iter().enumerate() {
        section.need("id", "`id` is required in [[camera]]; `\"*\"` matches all cameras");
        let twice = format!("another [[camera]] has the same id `{}`", id.as_deref().unwrap_or_default());
        if id.as_deref() == Some(OTHERS) {
            if first != Some(i) {
                section.note("id", twice);
                ForwardSettings::read(&section, &base);
            }
        } else {
            let settings = ForwardSettings::read(&section, &base);
            match id.map(|id| id.parse::<CameraId>()) {
                Some(Ok(id)) if cameras.contains_key(&id) => section.note("id", twice),
                Some(Ok(id)) => {
                    cameras.insert(id, settings);
                }
                Some(Err(error)) => section.note("id", error.to_string()),
                None => {}
            }
        }
        section.finish();
    }
    (cameras, others)
}

impl ForwardSettings {
    fn read(section: &Section<'_, '_>, base: &Self) -> Self {
        Self {
            path: PathSettings::read(section, base.path),
            labels: section.texts("labels").map_or_else(|| base.labels.clone(), BTreeSet::from_iter),
            min_box_px: section.number("min_box_px", 4.0..=4096.0).unwrap_or(base.min_box_px),
            levels: LevelSettings::read(section, base.levels),
            tracker: base.tracker,
        }
    }
}

impl LevelSettings {
    fn read(section: &Section<'_, '_>, base: Self) -> Self {
        let seconds = |key| section.number(key, 0.1..=60.0);
        let levels = Self {
            info_ttc_s: seconds("info_ttc_s").or(base.info_ttc_s),
            warn_ttc_s: seconds("warn_ttc_s").unwrap_or(base.warn_ttc_s),
            critical_ttc_s: seconds("critical_ttc_s").unwrap_or(base.critical_ttc_s),
        };
        if levels.critical_ttc_s >= levels.warn_ttc_s {
            let what = format!("must be below `warn_ttc_s`, which is {}", levels.warn_ttc_s);
            section.note("critical_ttc_s", what);
        }
        if levels.info_ttc_s.is_some_and(|info| info <= levels.warn_ttc_s) {
            let what = format!("must be above `warn_ttc_s`, which is {}", levels.warn_ttc_s);
            section.note("info_ttc_s", what);
        }
        levels
    }
}

impl PathSettings {
    fn read(section: &Section<'_, '_>, base: Self) -> Self {
        let drawn = section.optional_section("corridor").map(CorridorSettings::read);
        let calibrated = Calibration::read(section, base);
        match (drawn, calibrated) {
            (Some(_), Some(_)) => {
                let what = "the corridor is calculated if `height_m` is set; remove `corridor` or `height_m`";
                section.note("corridor", what);
                base
            }
            (Some(drawn), None) => Self::Drawn(drawn),
            (None, Some(calibrated)) => Self::Calibrated(calibrated),
            (None, None) => base,
        }
    }
}

impl CorridorSettings {
    fn read(section: Section<'_, '_>) -> Self {
        let default = Self::default();
        let ends = |key, default| match section.exactly::<2>(key) {
            Some([left, right]) if left < right && (-5.0..=6.0).contains(&left) && right <= 6.0 => {
                [left, right]
            }
            Some(_) => {
                section.note(
                    key,
                    "expected the left end first, in fractions of the image width: `[0.24, 0.76]`",
                );
                default
            }
            None => default,
        };
        let corridor = Self {
            bottom: ends("bottom", default.bottom),
            top: ends("top", default.top),
            top_y: section.number("top_y", 0.0..=0.95).unwrap_or(default.top_y),
        };
        let width = |[left, right]: [f64; 2]| right - left;
        if width(corridor.top) >= width(corridor.bottom) {
            section.note("top", "must be narrower than `bottom`: the corridor narrows with the distance");
        }
        section.finish();
        corridor
    }
}

impl Calibration {
    /// Returns `None` if none of its keys is set.
    fn read(section: &Section<'_, '_>, base: PathSettings) -> Option<Self> {
        let base = match base {
            PathSettings::Calibrated(base) => Some(base),
            PathSettings::Drawn(_) => None,
        };
        let height_m = section.number("height_m", 0.2..=5.0);
        let pitch_deg = section.number("pitch_deg", -30.0..=60.0);
        let yaw_deg = section.number("yaw_deg", -45.0..=45.0);
        let corridor_m = section.number("corridor_m", 0.5..=10.0);
        let focal = section.number("focal_px", 10.0..=100_000.0).map(Lens::FocalPx);
        let hfov = section.number("hfov_deg", 5.0..=150.0).map(Lens::HfovDeg);
        let keys = ["height_m", "pitch_deg", "yaw_deg", "corridor_m", "focal_px", "hfov_deg"];
        if !keys.iter().any(|key| section.has(key)) {
            return None;
        }
        if section.has("focal_px") && section.has("hfov_deg") {
            section.note("hfov_deg", "`hfov_deg` and `focal_px` exclude each other; remove one of them");
        }
        let complete = |key, known: bool, what: &str| {
            if !known && !section.has(key) {
                section.note(key, format!("{what} is required if any of {} is set", keys.join(", ")));
            }
        };
        complete("height_m", base.is_some(), "`height_m`, the camera's height above the ground,");
        if !section.has("focal_px") {
            complete("hfov_deg", base.is_some(), "`hfov_deg`, or `focal_px`,");
        }
        Some(Self {
            height_m: height_m.or(base.map(|base| base.height_m)).unwrap_or(1.3),
            pitch_deg: pitch_deg.or(base.map(|base| base.pitch_deg)).unwrap_or(0.0),
            yaw_deg: yaw_deg.or(base.map(|base| base.yaw_deg)).unwrap_or(0.0),
            lens: focal.or(hfov).or(base.map(|base| base.lens)).unwrap_or(Lens::HfovDeg(60.0)),
            corridor_m: corridor_m.or(base.map(|base| base.corridor_m)).unwrap_or(2.4),
        })
    }
}
