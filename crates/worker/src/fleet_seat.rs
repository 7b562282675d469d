//! The supervisor's end of the fleet.

use std::{future, sync::Arc, thread, time::Duration};

use lookout_broker::FleetEvent;
use lookout_config::FleetSettings;
use tokio::sync::{mpsc, oneshot};

use crate::{
    fleet::{Holdings, Plan},
    parts::{FleetParts, FleetSeat},
    roster::Roster,
};

/// The worker's place in the fleet, and what it has of the registry.
pub(crate) struct Fleet {
    events: mpsc::Receiver<FleetEvent>,
    seat: Box<dyn FleetSeat>,
    holdings: Holdings,
    failed: Option<String>,
}

/// How long leaving may take; where the brokers are away, the others find out by themselves.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

impl Fleet {
    pub(crate) fn new(
        parts: FleetParts,
        settings: &FleetSettings,
        knows_class: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    ) -> Self {
        let holdings = Holdings::new(settings, knows_class);
        Self { seat: parts.seat, events: parts.events, holdings, failed: None }
    }

    /// Takes note of an event and of those that came with it; whether the worker can be none of the fleet any
    /// more.
    pub(crate) fn hear(&mut self, event: FleetEvent) -> bool {
        let mut event = Some(event);
        while let Some(heard) = event.take() {
            if let Some(reason) = self.holdings.hear(heard) {
                tracing::error!(reason, "this worker is none of the fleet any more");
                self.failed = Some(reason);
            }
            event = self.events.try_recv().ok();
        }
        self.failed.is_some()
    }

    pub(crate) fn plan(&self) -> Plan {
        self.holdings.plan()
    }

    /// Gives up the partitions of which nothing is under way any more.
    pub(crate) fn release(&mut self, roster: &Roster) {
        let idle = self.holdings.leaving().filter(|(_, tenure)| !roster.is_busy_with(tenure));
        let partitions: Vec<i32> = idle.map(|(partition, _)| partition).collect();
        for partition in partitions {
            self.seat.release(partition);
            self.holdings.released(partition);
        }
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.seat.has_joined()
    }

    /// Leaves the fleet, so that its cameras need not be missed first; gives the reason where it was thrown
    /// out.
    pub(crate) async fn leave(self) -> Option<String> {
        let Self { seat, events, failed, .. } = self;
        // What it still has to say is waited for by nobody.
        drop(events);
        let (done, left) = oneshot::channel();
        let leave = move || {
            drop(seat);
            let _ = done.send(());
        };
        if thread::Builder::new().name("fleet-leave".into()).spawn(leave).is_ok()
            && tokio::time::timeout(LEAVE_WITHIN, left).await.is_err()
        {
            tracing::warn!("the fleet was not left in order, the others will miss this worker");
        }
        failed
    }
}

/// The next event of a fleet; never where there is none.
pub(crate) async fn next(fleet: &mut Option<Fleet>) -> FleetEvent {
    if let Some(fleet) = fleet
        && let Some(event) = fleet.events.recv().await
    {
        return event;
    }
    future::pending().await
}
