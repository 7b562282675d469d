//! The metrics served at `/metrics`, in the Prometheus text format (OpenMetrics 1.0).

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use lookout_schema::{AlertRecord, AlertState, RecordKind};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::state::{Counts, IgnoreCause};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTopic {
    topic: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByField {
    field: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRule {
    rule: String,
    level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByHook {
    webhook: String,
    result: &'static str,
}

/// The result of a call of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookResult {
    Delivered,
    /// The call is retried.
    Failed,
    /// The receiver rejected the alert for good.
    Refused,
    GivenUp,
}

/// All metrics. The counts of the state are copied here once a second.
pub(crate) struct Metrics {
    registry: Registry,
    read: Family<ByTopic, Counter>,
    unreadable: Family<ByTopic, Counter>,
    deleted: Family<ByTopic, Counter>,
    passed: Family<ByCause, Counter>,
    doubts: Family<ByField, Counter>,
    lag: Gauge<f64, AtomicU64>,
    cameras: Gauge,
    workers: Gauge,
    alerts: Family<ByRule, Counter>,
    pub(crate) alerts_open: Gauge,
    pub(crate) published: Counter,
    pub(crate) tracks_lost: Counter,
    hooks: Family<ByHook, Counter>,
    pub(crate) store_bytes: Gauge,
    pub(crate) checkpoint: Histogram,
    pub(crate) browsers: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lookout_monitor"),
            read: Family::default(),
            unreadable: Family::default(),
            deleted: Family::default(),
            passed: Family::default(),
            doubts: Family::default(),
            lag: Gauge::default(),
            cameras: Gauge::default(),
            workers: Gauge::default(),
            alerts: Family::default(),
            alerts_open: Gauge::default(),
            published: Counter::default(),
            tracks_lost: Counter::default(),
            hooks: Family::default(),
            store_bytes: Gauge::default(),
            checkpoint: Histogram::new((0..12).map(|i| 0.001 * f64::from(1 << i))),
            browsers: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("records", "Records read, by topic", self.read.clone());
        registry.register(
            "records_unreadable",
            "Records that cannot be decoded or are invalid, by topic",
            self.unreadable.clone(),
        );
        registry.register(
            "records_deleted",
            "Records that were deleted, by retention or otherwise, before they were read, by topic",
            self.deleted.clone(),
        );
        registry.register("records_ignored", "Records ignored, by cause", self.passed.clone());
        registry.register(
            "timestamp_conflicts",
            "Cameras whose `pts_ns` and `captured_at` advanced at different rates, by the ignored field",
            self.doubts.clone(),
        );
        registry.register_with_unit(
            "lag",
            "Age of the last record when it was read",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register("cameras", "Known cameras", self.cameras.clone());
        registry.register("workers", "Known workers", self.workers.clone());
        registry.register("alerts", "Alerts raised, by rule and level", self.alerts.clone());
        registry.register("open_alerts", "Alerts that were raised and not cleared", self.alerts_open.clone());
        registry.register("alerts_published", "Alert records written to their topic", self.published.clone());
        registry.register(
            "tracks_dropped",
            "Tracks that were not written to their topic",
            self.tracks_lost.clone(),
        );
        registry.register("webhook_calls", "Calls of webhooks, by result", self.hooks.clone());
        registry.register_with_unit("store", "Size of the store", Unit::Bytes, self.store_bytes.clone());
        registry.register_with_unit(
            "checkpoint",
            "Time to commit a checkpoint to the store",
            Unit::Seconds,
            self.checkpoint.clone(),
        );
        registry.register("browsers", "Browsers with an open event stream", self.browsers.clone());
    }

    /// Copies the counts of the state into the metrics.
    pub(crate) fn set(&self, counts: &Counts, cameras: usize, workers: usize) {
        for kind in RecordKind::ALL {
            let by = ByTopic { topic: topic(kind) };
            let set = |family: &Family<ByTopic, Counter>, count: Option<&u64>| {
                family.get_or_create(&by).inner().store(count.copied().unwrap_or(0), Relaxed);
            };
            set(&self.read, counts.read.get(&kind));
            set(&self.unreadable, counts.unreadable.get(&kind));
            set(&self.deleted, counts.deleted.get(&kind));
        }
        for cause in IgnoreCause::ALL {
            let count = counts.passed.get(&cause).copied().unwrap_or(0);
            self.passed.get_or_create(&ByCause { cause: cause.as_str() }).inner().store(count, Relaxed);
        }
        for (field, count) in &counts.doubts {
            self.doubts.get_or_create(&ByField { field }).inner().store(*count, Relaxed);
        }
        self.lag.set(counts.lag_ms.max(0) as f64 / 1e3);
        self.cameras.set(i64::try_from(cameras).unwrap_or(i64::MAX));
        self.workers.set(i64::try_from(workers).unwrap_or(i64::MAX));
    }

    pub(crate) fn raised(&self, alert: &AlertRecord) {
        if alert.state == AlertState::Raised {
            let by = ByRule { rule: alert.rule.clone(), level: alert.level.as_str() };
            self.alerts.get_or_create(&by).inc();
        }
    }

    pub(crate) fn called(&self, hook: &str, result: HookResult) {
        let result = match result {
            HookResult::Delivered => "delivered",
            HookResult::Failed => "failed",
            HookResult::Refused => "refused",
            HookResult::GivenUp => "abandoned",
        };
        self.hooks.get_or_create(&ByHook { webhook: hook.to_owned(), result }).inc();
    }

    pub(crate) fn scrape(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

const fn topic(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Frame => "frames",
        RecordKind::Status => "status",
        RecordKind::Snapshot => "snapshots",
        RecordKind::Track => "tracks",
        RecordKind::Alert => "alerts",
        RecordKind::Camera => "cameras",
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
