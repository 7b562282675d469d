//! How a worker stops: in order, or at once.

use std::time::Duration;

use anyhow::Result;
use lookout_schema::WorkerState;
use tokio::time::Instant;

use super::{Haste, Supervisor};
use crate::{metrics::DeviceReading, startup::Loader};

/// How long stopped stages may take to end, in addition to the time of the device's current batch; and the maximum in
/// total.
pub(super) const GRACE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

impl Supervisor {
    /// Drains, or stops at once if the worker is already draining.
    pub(super) fn stop(&mut self) -> Result<()> {
        let is_first = matches!(self.haste, Haste::None);
        self.hurry();
        if !is_first || self.stages.has_network() {
            return Ok(());
        }
        // If the process exits while a thread is in libtorch, it may crash, so the current step of loading is waited
        // for.
        let loader = self.loader.take();
        let over = async move {
            if let Some(Loader { loading, loaded }) = loader {
                loading.cancel();
                drop(loaded.await);
            }
        };
        self.stages.discard(over)
    }

    pub(super) fn hurry(&mut self) {
        if matches!(self.haste, Haste::None) {
            return self.stop_in_order();
        }
        tracing::warn!("second stop request: stopping immediately");
        self.give_up();
    }

    pub(super) fn stop_in_order(&mut self) {
        if !matches!(self.haste, Haste::None) {
            return;
        }
        tracing::info!(deadline_s = self.drain.as_secs(), "stopping: draining frames and records to kafka");
        self.state = WorkerState::Draining;
        self.haste = Haste::Until(Instant::now() + self.drain);
        self.stages.roster.stop_all();
    }

    pub(super) fn give_up(&mut self) {
        let works = self.stages.infer.as_ref().is_some_and(|infer| !infer.is_finished());
        if self.stages.abandon.take().is_some() && works {
            tracing::warn!("dropping the frames that have no record yet");
        }
        self.haste = Haste::GivenUp(Instant::now() + self.grace());
    }

    /// Returns how long stages may take to end. The device cannot interrupt a batch, which may take long on a slow
    /// device.
    fn grace(&self) -> Duration {
        let DeviceReading { busy, batches, .. } = self.metrics.device();
        let batches = u32::try_from(batches).unwrap_or(u32::MAX).max(1);
        let batch = (busy / batches).saturating_mul(self.streams);
        GRACE.1.min(GRACE.0 + batch.saturating_mul(2))
    }
}
