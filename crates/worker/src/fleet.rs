//! The supervisor's side of the fleet.

use std::{future, sync::Arc, thread, time::Duration};

use lookout_config::FleetSettings;
use lookout_stage::FleetEvent;
use tokio::sync::{mpsc, oneshot};

use crate::{
    components::{FleetComponents, GroupMembership},
    holdings::{Holdings, Plan},
    roster::Roster,
};

/// The worker's membership in the fleet, and its part of the registry.
pub(crate) struct Fleet {
    events: mpsc::Receiver<FleetEvent>,
    membership: Box<dyn GroupMembership>,
    holdings: Holdings,
    failed: Option<String>,
}

/// How long leaving the group may take. If the brokers are not reachable, the group detects the missing member by its
/// timeout.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

impl Fleet {
    pub(crate) fn new(
        components: FleetComponents,
        settings: &FleetSettings,
        knows_class: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    ) -> Self {
        let holdings = Holdings::new(settings, knows_class);
        Self { membership: components.membership, events: components.events, holdings, failed: None }
    }

    /// Applies an event and those that have arrived since. Returns whether the worker can no longer be a member of the
    /// fleet.
    pub(crate) fn handle_event(&mut self, event: FleetEvent) -> bool {
        let mut event = Some(event);
        while let Some(current) = event.take() {
            if let Some(reason) = self.holdings.apply(current) {
                tracing::error!(reason, "this worker is no longer a member of the fleet");
                self.failed = Some(reason);
            }
            event = self.events.try_recv().ok();
        }
        self.failed.is_some()
    }

    pub(crate) fn plan(&self) -> Plan {
        self.holdings.plan()
    }

    /// Releases the revoked partitions without frames or records in progress.
    pub(crate) fn release(&mut self, roster: &Roster) {
        let idle = self.holdings.leaving().filter(|(_, ownership)| !roster.is_busy_with(ownership));
        let partitions: Vec<i32> = idle.map(|(partition, _)| partition).collect();
        for partition in partitions {
            self.membership.release(partition);
            self.holdings.released(partition);
        }
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.membership.has_joined()
    }

    /// Leaves the group, so that the other workers do not have to wait for a timeout to take over the cameras. Returns
    /// the reason if the worker was removed from the group.
    pub(crate) async fn leave(self) -> Option<String> {
        let Self { membership, events, failed, .. } = self;
        // Later events are not needed.
        drop(events);
        let (done, left) = oneshot::channel();
        let leave = move || {
            drop(membership);
            let _ = done.send(());
        };
        if thread::Builder::new().name("fleet-leave".into()).spawn(leave).is_ok()
            && tokio::time::timeout(LEAVE_WITHIN, left).await.is_err()
        {
            tracing::warn!(
                "could not leave the consumer group in time, other workers take over after the session timeout"
            );
        }
        failed
    }
}

/// Returns the next event of a fleet; never completes if there is no fleet.
pub(crate) async fn next(fleet: &mut Option<Fleet>) -> FleetEvent {
    if let Some(fleet) = fleet
        && let Some(event) = fleet.events.recv().await
    {
        return event;
    }
    future::pending().await
}
