//! A monitor's file: what it serves where, and the rules that it holds the records to.

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
pub use places::MonitorPlaces;
pub use rule::{Pattern, RuleKind, RuleSettings};
pub use webhook::WebhookSettings;

use crate::{ConfigError, KafkaSettings, Secret, document::parse_with, expand::Env, reader::Section};

/// A valid monitor's file.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorSettings {
    /// The address of the HTTP server.
    pub http: SocketAddr,
    /// What a browser or a program has to know; always there where `http` can be reached from elsewhere.
    pub token: Option<Secret>,
    /// Reverse proxies, whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The path under which a reverse proxy serves the monitor, such as `/lookout`; empty where it serves it at `/`.
    pub base_path: String,
    /// The folder of the store.
    pub data: PathBuf,
    /// How long history and alerts are kept.
    pub retention: Duration,
    /// Above it the oldest history goes first, in bytes.
    pub max_store: u64,
    /// The first records of a new store.
    pub begin: Begin,
    /// The brokers and topics.
    pub kafka: KafkaSettings,
    /// `[tracking]`.
    pub tracking: TrackingSettings,
    /// `[[rule]]`.
    pub rules: Vec<RuleSettings>,
    /// Of cameras that have none in the registry.
    pub places: MonitorPlaces,
    /// `[[webhook]]`.
    pub webhooks: Vec<WebhookSettings>,
}

/// With which records the first run on a new store begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Begin {
    /// Those of the last hour.
    #[default]
    Recent,
    /// The oldest that Kafka has.
    Beginning,
    /// Only those that are published from now on.
    Now,
}

/// `[tracking]`: how objects are followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackingSettings {
    /// Whether the objects are told on the tracks' topic.
    pub publish: bool,
    /// Detections with a lower score must fit a track better to be matched with it; 0 to 1.
    pub high_score: f32,
    /// Minimum score of an unmatched detection to start a new track, 0 to 1.
    pub new_score: f32,
    /// Seconds without a detection after which a track ends.
    pub max_hidden_s: f64,
}

/// Of [`MonitorSettings::http`] where nothing else is said.
const HTTP: &str = "127.0.0.1:9700";
const DAY_S: u64 = 24 * 60 * 60;
const MIB: u64 = 1024 * 1024;
/// A token that can be guessed is none.
const LEAST_TOKEN: usize = 16;

/// Reads a monitor's file. Relative paths in it start from the file's folder; `env` gives the value of an
/// environment variable.
///
/// # Errors
/// Every mistake of the file.
pub fn parse_monitor(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<MonitorSettings, ConfigError> {
    parse_with(file, text, env as Env<'_>, MonitorSettings::read)
}

impl MonitorSettings {
    /// What is wrong with serving at `http`, if anything is.
    pub fn refusal(http: SocketAddr, token: Option<&Secret>) -> Option<String> {
        (!http.ip().is_loopback() && token.is_none()).then(|| {
            format!(
                "{http} can be reached from other machines, which requires a token: set `token` in [monitor], such as \
                 `token = \"${{MONITOR_TOKEN}}\"`, or listen on 127.0.0.1"
            )
        })
    }

    fn read(root: Section<'_, '_>, base: &Path) -> Option<Self> {
        let monitor = root.section("monitor");
        root.need("monitor", "`[monitor]` is required; it may be empty");
        let http = monitor.text("http").unwrap_or_else(|| HTTP.into());
        let address = http.parse::<SocketAddr>();
        if address.is_err() {
            monitor.note("http", format!("`{http}` is not a valid address; use IP:PORT, such as `{HTTP}`"));
        }
        let token = monitor.text("token");
        if token.as_ref().is_some_and(|token| token.len() < LEAST_TOKEN) {
            let what = format!(
                "the token is shorter than {LEAST_TOKEN} characters and can be guessed; generate one with \
                 `openssl rand -hex 32`"
            );
            monitor.note("token", what);
        }
        let token = token.map(Secret::new);
        // What `token` could not be read of is told already.
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
        let begins = [("recent", Begin::Recent), ("beginning", Begin::Beginning), ("now", Begin::Now)];
        let begin = monitor.choice("begin", &begins).unwrap_or_default();
        monitor.finish();
        let kafka = KafkaSettings::read(root.section("kafka"), base);
        let tracking = TrackingSettings::read(root.section("tracking"));
        let places = MonitorPlaces::read(&root);
        let rules = rules(&root);
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
            begin,
            kafka: kafka?,
            tracking,
            rules: rules?,
            places,
            webhooks: webhooks?,
        })
    }
}

/// A proxy on this machine is trusted unless the file says otherwise.
fn loopback() -> Vec<IpNet> {
    let networks = [(IpAddr::from([127, 0, 0, 0]), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    networks.into_iter().filter_map(|(address, length)| IpNet::new(address, length).ok()).collect()
}

fn is_base_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    path.is_empty() || path.starts_with('/') && !path.contains("//") && path.bytes().all(plain)
}

/// None where one of them is wrong.
fn rules(root: &Section<'_, '_>) -> Option<Vec<RuleSettings>> {
    let sections = root.sections("rule").unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    let mut right = true;
    for section in sections {
        let rule = RuleSettings::read(section, &mut names);
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
            high_score: score("high_score", default.high_score),
            new_score: score("new_score", default.new_score),
            max_hidden_s: section.number("max_hidden_s", 0.0..=60.0).unwrap_or(default.max_hidden_s),
        };
        section.finish();
        settings
    }
}

impl Default for TrackingSettings {
    fn default() -> Self {
        Self { publish: true, high_score: 0.5, new_score: 0.6, max_hidden_s: 2.0 }
    }
}
