//! The partitions of the registry that a worker has, and how far it has come with each. Pure: it sends
//! nothing and reads no clock.

use std::{collections::BTreeMap, sync::Arc};

use lookout_schema::Epoch;
use lookout_stage::{BootTime, Lease, Tenure};

use crate::registry::RegistryRecord;

/// What has become of a partition.
#[derive(Debug)]
pub enum FleetEvent {
    /// It is this worker's, with these cameras by key.
    Gained { partition: i32, tenure: Arc<Tenure>, records: BTreeMap<String, RegistryRecord> },
    /// A camera of a partition that is this worker's.
    Changed { partition: i32, key: String, record: RegistryRecord },
    /// It is to be given up: when nothing of its cameras is under way any more it is to be
    /// [released](crate::FleetMember::release), and its tenure ends soon in any case.
    Leaving { partition: i32 },
    /// It is another's, or may be: its cameras have to end at once.
    Lost { partition: i32 },
    /// This worker can be none of the fleet any more.
    Failed { reason: String },
}

/// How far a claim to a partition has come.
#[derive(Debug)]
enum Claim {
    /// None, and none may be made before the group has said again that this worker belongs to it.
    Barred,
    Due,
    Sent,
    /// It is written. It counts once the group has answered a question asked after that: before, another
    /// could have claimed the partition in between.
    Written {
        epoch: Epoch,
        at: BootTime,
    },
    Held(Arc<Tenure>),
}

#[derive(Debug)]
struct Share {
    claim: Claim,
    /// Whether it was read to its end.
    read: bool,
    /// The offset of the next record.
    position: i64,
    records: BTreeMap<String, RegistryRecord>,
    leaving: bool,
}

/// The partitions that the group has given to this worker.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    lease: Arc<Lease>,
    shares: BTreeMap<i32, Share>,
}

impl Shares {
    pub(crate) fn assign(&mut self, partition: i32) {
        let share =
            Share { claim: Claim::Due, read: false, position: 0, records: BTreeMap::new(), leaving: false };
        self.shares.insert(partition, share);
    }

    /// A record of a partition.
    pub(crate) fn record(
        &mut self,
        partition: i32,
        offset: i64,
        key: String,
        record: RegistryRecord,
    ) -> Option<FleetEvent> {
        let share = self.shares.get_mut(&partition)?;
        share.position = offset + 1;
        match &record {
            RegistryRecord::Removed => share.records.remove(&key),
            _ => share.records.insert(key.clone(), record.clone()),
        };
        let held = matches!(share.claim, Claim::Held(_)) && !share.leaving;
        held.then_some(FleetEvent::Changed { partition, key, record })
    }

    /// A partition was read to its end.
    pub(crate) fn read(&mut self, partition: i32) {
        if let Some(share) = self.shares.get_mut(&partition) {
            share.read = true;
        }
    }

    /// The partitions to write a claim for, now.
    pub(crate) fn due(&mut self) -> Vec<i32> {
        let due = self
            .shares
            .iter_mut()
            .filter(|(_, share)| matches!(share.claim, Claim::Due) && share.read && !share.leaving);
        due.map(|(partition, share)| {
            share.claim = Claim::Sent;
            *partition
        })
        .collect()
    }

    /// A claim was written, or not.
    pub(crate) fn claimed(&mut self, partition: i32, epoch: Option<Epoch>, now: BootTime) {
        if let Some(share) = self.shares.get_mut(&partition)
            && matches!(share.claim, Claim::Sent)
        {
            share.claim = epoch.map_or(Claim::Due, |epoch| Claim::Written { epoch, at: now });
        }
    }

    /// The group has said, to a question asked at `asked`, that this worker belongs to it: so it is nobody
    /// else's until `until`. Gives what is this worker's from now on.
    pub(crate) fn renew(&mut self, asked: BootTime, until: BootTime) -> Vec<FleetEvent> {
        self.lease.renew(until);
        let mut events = Vec::new();
        for (partition, share) in self.shares.iter_mut().filter(|(_, share)| !share.leaving) {
            match share.claim {
                Claim::Barred => share.claim = Claim::Due,
                Claim::Written { epoch, at } if asked > at => {
                    let tenure = Tenure::leased(epoch, Arc::clone(&self.lease));
                    let (partition, records) = (*partition, share.records.clone());
                    share.claim = Claim::Held(Arc::clone(&tenure));
                    events.push(FleetEvent::Gained { partition, tenure, records });
                }
                Claim::Due | Claim::Sent | Claim::Written { .. } | Claim::Held(_) => {}
            }
        }
        events
    }

    /// Whether a claim waits for the group's answer.
    pub(crate) fn waits(&self) -> bool {
        self.shares.values().any(|share| matches!(share.claim, Claim::Written { .. }))
    }

    /// What has to end because the lease has run out.
    pub(crate) fn expire(&mut self, now: BootTime) -> Vec<FleetEvent> {
        if self.lease.holds(now) {
            return Vec::new();
        }
        let mut lost = Vec::new();
        for (partition, share) in &mut self.shares {
            if let Claim::Held(tenure) = &share.claim {
                tenure.end();
                lost.push(FleetEvent::Lost { partition: *partition });
            }
            share.claim = Claim::Barred;
        }
        lost
    }

    /// A partition is to go to another; tells where there is something to end first.
    pub(crate) fn leave(&mut self, partition: i32) -> Option<FleetEvent> {
        let share = self.shares.get_mut(&partition)?;
        share.leaving = true;
        matches!(share.claim, Claim::Held(_)).then_some(FleetEvent::Leaving { partition })
    }

    /// A partition is another's; tells where its cameras run.
    pub(crate) fn forget(&mut self, partition: i32) -> Option<FleetEvent> {
        let share = self.shares.remove(&partition)?;
        let Claim::Held(tenure) = share.claim else { return None };
        tenure.end();
        Some(FleetEvent::Lost { partition })
    }

    /// Each partition with the offset of its next record.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (i32, i64)> {
        self.shares.iter().map(|(partition, share)| (*partition, share.position))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.shares.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> BootTime {
        BootTime::from_millis(ms)
    }

    fn camera(id: &str) -> RegistryRecord {
        let spec = lookout_schema::CameraSpec::new(id.parse().unwrap(), "test://ball");
        RegistryRecord::Camera(Box::new(spec))
    }

    /// A partition that was assigned, read, claimed with `epoch`, and confirmed.
    fn gained(shares: &mut Shares, epoch: u64) -> Arc<Tenure> {
        shares.assign(3);
        assert!(shares.record(3, 10, "a".into(), camera("a")).is_none());
        assert!(shares.due().is_empty(), "it is not read");
        shares.read(3);
        assert_eq!(shares.due(), [3]);
        assert!(shares.due().is_empty(), "a claim is under way");
        shares.claimed(3, Some(Epoch(epoch)), at(100));
        assert!(shares.renew(at(90), at(6_090)).is_empty(), "the question is older than the claim");
        let mut events = shares.renew(at(110), at(6_110));
        let Some(FleetEvent::Gained { partition: 3, tenure, records }) = events.pop() else { panic!() };
        assert_eq!((records.len(), tenure.epoch()), (1, Epoch(epoch)));
        tenure
    }

    #[test]
    fn a_partition_is_owned_once_its_claim_is_written_and_confirmed() {
        let mut shares = Shares::default();
        let tenure = gained(&mut shares, 7);
        assert!(tenure.holds(at(6_109)) && !tenure.holds(at(6_110)));
        assert!(matches!(shares.record(3, 11, "b".into(), camera("b")), Some(FleetEvent::Changed { .. })));
        assert_eq!(shares.positions().collect::<Vec<_>>(), [(3, 12)]);
    }

    #[test]
    fn what_is_paused_loses_its_tenure_and_needs_a_new_epoch() {
        let mut shares = Shares::default();
        let old = gained(&mut shares, 7);
        assert!(shares.expire(at(6_109)).is_empty());
        assert!(matches!(shares.expire(at(20_000))[..], [FleetEvent::Lost { partition: 3 }]));
        assert!(shares.expire(at(20_001)).is_empty(), "it is said once");
        assert!(shares.due().is_empty(), "it may not belong to the group any more");
        assert!(shares.renew(at(20_100), at(26_100)).is_empty());
        assert!(!old.holds(at(20_200)), "a renewed lease does not bring the old tenure back");
        assert_eq!(shares.due(), [3]);
        shares.claimed(3, Some(Epoch(9)), at(20_300));
        let events = shares.renew(at(20_400), at(26_400));
        assert!(matches!(&events[..], [FleetEvent::Gained { tenure, .. }] if tenure.epoch() == Epoch(9)));
    }

    #[test]
    fn what_leaves_is_neither_claimed_nor_changed() {
        let mut shares = Shares::default();
        let tenure = gained(&mut shares, 7);
        assert!(matches!(shares.leave(3), Some(FleetEvent::Leaving { partition: 3 })));
        assert!(shares.record(3, 11, "b".into(), camera("b")).is_none());
        assert!(tenure.holds(at(500)), "what is under way may still be published");
        assert!(matches!(shares.forget(3), Some(FleetEvent::Lost { partition: 3 })));
        assert!(!tenure.holds(at(500)) && shares.is_empty());
        shares.assign(4);
        assert!(shares.leave(4).is_none() && shares.forget(4).is_none(), "nothing of it ran");
    }

    #[test]
    fn a_claim_that_was_not_written_is_made_again() {
        let mut shares = Shares::default();
        shares.assign(3);
        shares.read(3);
        assert_eq!(shares.due(), [3]);
        shares.claimed(3, None, at(1));
        assert_eq!(shares.due(), [3]);
        // It comes to an answer that is no longer waited for.
        let _ = shares.forget(3);
        shares.claimed(3, Some(Epoch(1)), at(2));
        assert!(shares.is_empty());
    }
}
