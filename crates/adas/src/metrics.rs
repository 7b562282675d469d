//! The metrics served at `/metrics`, in the Prometheus text format (OpenMetrics 1.0).

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use lookout_schema::AlertRecord;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLevelAndState {
    level: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKindAndCause {
    kind: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByField {
    field: &'static str,
}

/// All metrics. There is no label per camera, because a writer of records may invent camera ids.
pub(crate) struct Metrics {
    registry: Registry,
    records: Family<ByOutcome, Counter>,
    alerts: Family<ByLevelAndState, Counter>,
    written: Family<ByKind, Counter>,
    not_written: Family<ByKindAndCause, Counter>,
    deleted: Counter,
    doubts: Family<ByField, Counter>,
    pub(crate) cameras: Gauge,
    pub(crate) open_alerts: Gauge,
    pub(crate) partitions: Gauge,
}

impl Metrics {
    /// Creates the metrics, with a 0 for each of `outcomes`, so that the first one shows as an increase.
    pub(crate) fn new(outcomes: impl Iterator<Item = &'static str>) -> Arc<Self> {
        let mut registry = Registry::with_prefix("lookout_adas");
        let records = Family::<ByOutcome, Counter>::default();
        let alerts = Family::<ByLevelAndState, Counter>::default();
        let written = Family::<ByKind, Counter>::default();
        let not_written = Family::<ByKindAndCause, Counter>::default();
        let (cameras, open_alerts, partitions) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("records", "Frame records, by outcome", records.clone());
        registry.register("alerts", "Alert records to publish, by level and state", alerts.clone());
        registry.register("records_written", "Records that the brokers have acknowledged", written.clone());
        registry.register(
            "records_not_written",
            "Records that were not written, by cause",
            not_written.clone(),
        );
        let doubts = Family::<ByField, Counter>::default();
        registry.register(
            "timestamp_conflicts",
            "Cameras whose `pts_ns` and `captured_at` advanced at different rates, by the ignored field",
            doubts.clone(),
        );
        let deleted = Counter::default();
        registry.register(
            "records_deleted",
            "Frame records that were deleted, by retention or otherwise, before they were read",
            deleted.clone(),
        );
        registry.register("cameras", "Cameras whose records are processed", cameras.clone());
        registry.register("open_alerts", "Alerts that were raised and not cleared", open_alerts.clone());
        registry.register(
            "partitions",
            "Partitions of the frame topic that are assigned to this member",
            partitions.clone(),
        );
        outcomes.for_each(|outcome| drop(records.get_or_create(&ByOutcome { outcome })));
        Arc::new(Self {
            registry,
            records,
            alerts,
            written,
            not_written,
            deleted,
            doubts,
            cameras,
            open_alerts,
            partitions,
        })
    }

    pub(crate) fn record(&self, outcome: &'static str) {
        self.records.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(crate) fn records(&self, outcome: &'static str) -> u64 {
        self.records.get_or_create(&ByOutcome { outcome }).get()
    }

    pub(crate) fn alert(&self, alert: &AlertRecord) {
        let by = ByLevelAndState { level: alert.level.as_str(), state: alert.state.as_str() };
        self.alerts.get_or_create(&by).inc();
    }

    pub(crate) fn written(&self, kind: &'static str) {
        self.written.get_or_create(&ByKind { kind }).inc();
    }

    pub(crate) fn not_written(&self, kind: &'static str, cause: &'static str) {
        self.not_written.get_or_create(&ByKindAndCause { kind, cause }).inc();
    }

    pub(crate) fn doubted(&self, field: &'static str) {
        self.doubts.get_or_create(&ByField { field }).inc();
    }

    pub(crate) fn set_deleted(&self, records: u64) {
        self.deleted.inner().store(records, Relaxed);
    }

    /// Returns the text of a scrape.
    pub(crate) fn scrape(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
