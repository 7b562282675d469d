//! Commits the state to the store before results are published.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_schema::{AlertLevel, AlertRecord};
use tokio::{sync::watch, time::sleep};

use super::{ConsumerLoop, LoopState};
use crate::{
    MonitorError,
    shared::{is_set, locked},
    store::StoredAlert,
};

const TRY_AGAIN: Duration = Duration::from_secs(1);

impl ConsumerLoop {
    /// Commits a checkpoint. While the store fails nothing more is read; Kafka keeps the records.
    pub(super) async fn keep(
        &mut self,
        all: bool,
        loop_state: &mut LoopState,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), MonitorError> {
        let checkpoint = Arc::new(self.state.checkpoint(all));
        let started = Instant::now();
        let new = loop {
            match self.shared.store.commit(Arc::clone(&checkpoint)).await {
                Ok(new) => break new,
                Err(error) => {
                    self.store_failed(&error);
                    // The loop is alive: it waits for the store.
                    locked(&self.shared.health).turned = Some(Instant::now());
                    if *stopped.borrow() {
                        return Err(error.into());
                    }
                }
            }
            tokio::select! {
                () = sleep(TRY_AGAIN) => {}
                () = is_set(stopped) => {}
            }
        };
        locked(&self.shared.health).store = None;
        self.shared.metrics.checkpoint.observe(started.elapsed().as_secs_f64());
        if !checkpoint.alerts.is_empty() {
            self.shared.due.send_modify(|due| *due += 1);
        }
        if !new.is_empty() {
            self.send_alerts(&new).await;
            self.count_open(loop_state).await;
        }
        Ok(())
    }

    async fn send_alerts(&self, new: &[AlertRecord]) {
        for alert in new {
            log(alert);
            self.shared.metrics.raised(alert);
            if self.shared.events.receiver_count() > 0 {
                let stored = self.shared.store.alert(alert.id.clone()).await;
                let stored = stored.inspect_err(|error| self.store_failed(error)).ok().flatten();
                let stored =
                    stored.unwrap_or_else(|| StoredAlert { alert: alert.clone(), acknowledged: None });
                self.shared.send_event("alert", &stored);
            }
        }
    }
}

fn log(alert: &AlertRecord) {
    let AlertRecord { id, rule, message, .. } = alert;
    let state = alert.state.as_str();
    match alert.level {
        AlertLevel::Info => {
            tracing::info!(target: "lookout_alert", id, rule, state, message, "info");
        }
        AlertLevel::Warning => {
            tracing::warn!(target: "lookout_alert", id, rule, state, message, "warning");
        }
        AlertLevel::Critical => {
            tracing::error!(target: "lookout_alert", id, rule, state, message, "critical");
        }
    }
}
