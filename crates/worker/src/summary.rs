//! The summary of a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use lookout_schema::{CameraId, CameraStatus, DropCause, ExpireCause, RetryReason};
use serde::Serialize;

use crate::{camera::Camera, recorder::Latencies, roster::Roster};

/// The summary of a run, printed as one line by `--summary json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Seconds from the time when the network was loaded, or from the worker's start if it never was, to the delivery
    /// of the last record.
    pub seconds: f64,
    /// Records delivered per second.
    pub fps: f64,
    pub cameras: BTreeMap<CameraId, CameraSummary>,
    pub latency_ms: LatencyMs,
    /// Why the worker could no longer be a member of its fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
}

/// The outcome of a camera's frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraSummary {
    pub received: u64,
    pub published: u64,
    pub delivered: u64,
    pub dropped: BTreeMap<DropCause, u64>,
    pub expired: BTreeMap<ExpireCause, u64>,
    pub status: CameraStatus,
    pub reconnects: u64,
    /// Why the camera has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RetryReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Frames that a stage still held when the worker stopped waiting for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub processing: u64,
    #[serde(skip)]
    live: bool,
}

/// Age of the records when they were published, in milliseconds; null without records. For files, the age is counted
/// from the decoder's output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencyMs {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Summary {
    pub(crate) fn new(seconds: Duration, roster: &Roster, latencies: &Latencies) -> Self {
        let cameras: BTreeMap<_, _> =
            roster.iter().map(|camera| (camera.settings.id.clone(), CameraSummary::new(camera))).collect();
        let delivered: u64 = cameras.values().map(|camera| camera.delivered).sum();
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        Self {
            seconds: round(seconds.as_secs_f64()),
            fps: round(delivered as f64 / seconds.as_secs_f64().max(f64::EPSILON)),
            cameras,
            latency_ms: LatencyMs {
                p50: latencies.quantile_ms(0.50),
                p95: latencies.quantile_ms(0.95),
                p99: latencies.quantile_ms(0.99),
            },
            fleet: None,
        }
    }

    /// Returns the cameras that failed or lost frames of a file, and why.
    pub fn failures(&self) -> Vec<(&CameraId, String)> {
        self.cameras.iter().filter_map(|(id, camera)| Some((id, camera.failure()?))).collect()
    }
}

impl CameraSummary {
    fn new(camera: &Camera) -> Self {
        let counts = camera.ledger.counts();
        let failed = camera.status == CameraStatus::Failed;
        Self {
            received: counts.received,
            published: counts.published,
            delivered: counts.delivered,
            dropped: counts.dropped,
            expired: counts.expired,
            status: camera.status,
            reconnects: camera.reconnects,
            reason: camera.retry.filter(|_| failed),
            detail: camera.detail.clone().filter(|_| failed),
            processing: counts.processing,
            live: camera.settings.uri.is_live(),
        }
    }

    fn failure(&self) -> Option<String> {
        if self.status == CameraStatus::Failed {
            let reason = self.reason.map_or("failed", RetryReason::as_str);
            return Some(format!("{reason}: {}", self.detail.as_deref().unwrap_or("no details are known")));
        }
        // A live camera may lose frames, for causes that are counted. A file may only be stopped early, or start
        // between two key frames, like a clip that was cut from a recording.
        let lost = |cause: &&DropCause| {
            use DropCause as Cause;
            !matches!(cause, Cause::FpsLimit | Cause::Skipped | Cause::Shutdown | Cause::NoKeyFrame)
        };
        let dropped: u64 = self.dropped.iter().filter(|(cause, _)| lost(cause)).map(|(_, n)| n).sum();
        let expired: u64 = self.expired.values().sum();
        let lost = dropped + expired + self.processing;
        (!self.live && lost > 0).then(|| format!("{lost} of its frames were lost"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.cameras.keys().map(|id| id.as_str().len()).max().unwrap_or(0).max(6);
        writeln!(
            f,
            "{:width$}  {:10} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "camera", "status", "received", "published", "delivered", "dropped", "expired"
        )?;
        for (id, camera) in &self.cameras {
            writeln!(
                f,
                "{:width$}  {:10} {:>9} {:>9} {:>9} {:>9} {:>9}",
                id.as_str(),
                camera.status.as_str(),
                camera.received,
                camera.published,
                camera.delivered,
                camera.dropped.values().sum::<u64>(),
                camera.expired.values().sum::<u64>(),
            )?;
            for (cause, frames) in &camera.dropped {
                writeln!(f, "{:width$}  dropped, {}: {frames}", "", cause.as_str())?;
            }
            for (cause, records) in &camera.expired {
                writeln!(f, "{:width$}  expired, {}: {records}", "", cause.as_str())?;
            }
        }
        write!(f, "{:.1} s, {:.1} frames/s", self.seconds, self.fps)?;
        if let LatencyMs { p50: Some(p50), p95: Some(p95), p99: Some(p99) } = self.latency_ms {
            write!(f, ", latency {p50:.0} ms (median), {p95:.0} ms (95 %), {p99:.0} ms (99 %)")?;
        }
        Ok(())
    }
}
