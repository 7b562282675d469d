//! The configuration file of `lookout monitor`: HTTP server, store, tracking, rules and webhooks.

mod places;
mod rule;
mod webhook;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use lookout_schema::TrackerAlgorithm;
pub use places::MonitorPlaces;
pub use rule::{Pattern, RuleReader, RuleSettings, RuleSubject};
pub use webhook::WebhookSettings;

use crate::{ConfigError, KafkaSettings, Secret, document::parse_with, expand::Env, reader::Section};

/// A valid configuration file of `lookout monitor`.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorSettings<R> {
    /// The address of the HTTP server.
    pub http: SocketAddr,
    /// The token that HTTP clients must present. It is always set if `http` can be reached from other
    /// machines.
    pub token: Option<Secret>,
    /// Networks of reverse proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Path under which a reverse proxy serves the monitor, such as `/lookout`; empty for `/`.
    pub base_path: String,
    /// Folder of the store.
    pub data: PathBuf,
    /// How long history and alerts are kept.
    pub retention: Duration,
    /// Maximum size of the store in bytes. If it is exceeded, the oldest history is deleted.
    pub max_store: u64,
    /// The records with which the first run on a new store starts.
    pub start_from: StartFrom,
    /// The brokers and topics.
    pub kafka: KafkaSettings,
    /// `[tracking]`.
    pub tracking: TrackingSettings,
    /// `[[rule]]`.
    pub rules: Vec<RuleSettings<R>>,
    /// Zones and lines of cameras that have none in the registry.
    pub places: MonitorPlaces,
    /// `[[webhook]]`.
    pub webhooks: Vec<WebhookSettings>,
}

/// The records with which the first run on a new store starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// The records of the last hour.
    #[default]
    Recent,
    /// The oldest records in Kafka.
    Earliest,
    /// Only records that are written from now on.
    Latest,
}

/// `[tracking]`: settings of the tracker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackingSettings {
    /// Whether tracks are published on the tracks topic.
    pub publish: bool,
    /// The tracking algorithm.
    pub algorithm: TrackerAlgorithm,
    /// Minimum score of the detections that count in object counts, 0 to 1.
    pub track_high_thresh: f32,
    /// Minimum score of an unmatched detection to start a new track, 0 to 1.
    pub new_track_thresh: f32,
    /// Seconds without a detection after which a track ends.
    pub max_age_s: f64,
    /// Seconds for which a track without a detection is published at its predicted position.
    pub predict_s: f64,
}

/// Default of [`MonitorSettings::http`].
const HTTP: &str = "127.0.0.1:9700";
const DAY_S: u64 = 24 * 60 * 60;
const MIB: u64 = 1024 * 1024;
/// Minimum length of a token, so that it cannot be guessed.
const MIN_TOKEN: usize = 16;

/// Parses the text of a file of `lookout monitor`. Relative paths in it are relative to the file's folder.
/// `env` returns the value of an environment variable, and `readers` are the known kinds of rules.
///
/// # Errors
/// Returns all errors of the file.
pub fn parse_monitor<K: RuleReader>(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    readers: &[K],
) -> Result<MonitorSettings<K::Rule>, ConfigError> {
    parse_with(file, text, env as Env<'_>, |root, base| MonitorSettings::read(root, base, readers))
}

impl<R> MonitorSettings<R> {
    /// Returns an error message if serving at `http` requires a token and no token is set.
    pub fn refusal(http: SocketAddr, token: Option<&Secret>) -> Option<String> {
        (!http.ip().is_loopback() && token.is_none()).then(|| {
            format!(
                "{http} can be reached from other machines, which requires a token: set `token` in [monitor], such as \
                 `token = \"${{MONITOR_TOKEN}}\"`, or listen on 127.0.0.1"
            )
        })
    }

    fn read<K: RuleReader<Rule = R>>(root: Section<'_, '_>, base: &Path, readers: &[K]) -> Option<Self> {
        let monitor = root.section("monitor");
        root.need("monitor", "`[monitor]` is required; it may be empty");
        let http = monitor.text("http").unwrap_or_else(|| HTTP.into());
        let address = http.parse::<SocketAddr>();
        if address.is_err() {
            monitor.note("http", format!("`{http}` is not a valid address; use IP:PORT, such as `{HTTP}`"));
        }
        let token = monitor.text("token");
        if token.as_ref().is_some_and(|token| token.len() < MIN_TOKEN) {
            let what = format!(
                "the token is shorter than {MIN_TOKEN} characters and can be guessed; generate one with \
                 `openssl rand -hex 32`"
            );
            monitor.note("token", what);
        }
        let token = token.map(Secret::new);
        // If `token` is set but could not be read, that error is already reported.
        if let Ok(address) = address
            && !monitor.has("token")
            && let Some(what) = Self::refusal(address, token.as_ref())
        {
            monitor.note("http", what);
        }
        let proxies = monitor.networks("trusted_proxies");
        let base_path = monitor.text("base_path").unwrap_or_default();
        let base_path = base_path.trim_end_matches('/');
        if !is_base_path(base_path) {
            let what = format!(
                "`{base_path}` is not a valid path; use a `/` and letters, digits, `-`, `_`, `.` and `/`, such as \
                 `/lookout`"
            );
            monitor.note("base_path", what);
        }
        let data = base.join(monitor.text("data").unwrap_or_else(|| "lookout-monitor".into()));
        let retention =
            Duration::from_secs(DAY_S * monitor.integer("retention_days", 1..=3650).unwrap_or(30));
        let max_store = MIB * monitor.integer("max_store_mb", 16..=10_000_000).unwrap_or(2048);
        let starts =
            [("recent", StartFrom::Recent), ("earliest", StartFrom::Earliest), ("latest", StartFrom::Latest)];
        let start_from = monitor.choice("start_from", &starts).unwrap_or_default();
        monitor.finish();
        let kafka = KafkaSettings::read(root.section("kafka"), base);
        let tracking = TrackingSettings::read(root.section("tracking"));
        let places = MonitorPlaces::read(&root);
        let rules = rules(&root, readers);
        let names: BTreeSet<&str> = rules.iter().flatten().map(|rule| rule.name.as_str()).collect();
        let webhooks = webhook::read_all(&root, &names, base);
        root.finish();
        Some(Self {
            http: address.ok()?,
            token,
            trusted_proxies: proxies.unwrap_or_else(loopback),
            base_path: base_path.to_owned(),
            data,
            retention,
            max_store,
            start_from,
            kafka: kafka?,
            tracking,
            rules: rules?,
            places,
            webhooks: webhooks?,
        })
    }
}

/// Returns the default of `trusted_proxies`: proxies on this machine.
fn loopback() -> Vec<IpNet> {
    let networks = [(IpAddr::from([127, 0, 0, 0]), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    networks.into_iter().filter_map(|(address, length)| IpNet::new(address, length).ok()).collect()
}

fn is_base_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    path.is_empty() || path.starts_with('/') && !path.contains("//") && path.bytes().all(plain)
}

/// Reads all rules. Returns `None` if one of them is invalid.
fn rules<K: RuleReader>(root: &Section<'_, '_>, readers: &[K]) -> Option<Vec<RuleSettings<K::Rule>>> {
    let sections = root.sections("rule").unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    let mut right = true;
    for section in sections {
        let rule = RuleSettings::read(section, readers, &mut names);
        right &= rule.is_some();
        rules.extend(rule);
    }
    right.then_some(rules)
}

impl TrackingSettings {
    fn read(section: Section<'_, '_>) -> Self {
        let default = Self::default();
        let score = |key, default| section.number(key, 0.0..=1.0).map_or(default, |score| score as f32);
        let settings = Self {
            publish: section.boolean("publish").unwrap_or(default.publish),
            algorithm: section.parsed("algorithm").unwrap_or(default.algorithm),
            track_high_thresh: score("track_high_thresh", default.track_high_thresh),
            new_track_thresh: score("new_track_thresh", default.new_track_thresh),
            max_age_s: section.number("max_age_s", 0.0..=60.0).unwrap_or(default.max_age_s),
            predict_s: section.number("predict_s", 0.0..=60.0).unwrap_or(default.predict_s),
        };
        section.finish();
        settings
    }
}

impl Default for TrackingSettings {
    fn default() -> Self {
        Self {
            publish: true,
            algorithm: TrackerAlgorithm::default(),
            track_high_thresh: 0.5,
            new_track_thresh: 0.6,
            max_age_s: 2.0,
            predict_s: 0.0,
        }
    }
}
