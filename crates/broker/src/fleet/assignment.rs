//! The partitions of the registry that are assigned to a worker (`Assignment`), and the state of their claims. This
//! module does no I/O and reads no clock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lookout_schema::{Epoch, RegistryRecord};
use lookout_stage::{BootTime, FleetEvent, Lease, Ownership};

/// The state of the claim to a partition.
#[derive(Debug)]
enum Claim {
    /// There is no claim, and none may be written until the group confirms the membership again.
    Barred,
    Due,
    Sent,
    /// The claim is written. It is valid once the group confirms a commit that was requested after `at`. Without
    /// that, another worker could have claimed the partition since.
    Written {
        epoch: Epoch,
        at: BootTime,
    },
    Held(Arc<Ownership>),
}

#[derive(Debug)]
struct AssignedPartition {
    claim: Claim,
    /// Whether the partition was read to its end.
    read: bool,
    /// The offset of the next record.
    position: i64,
    records: BTreeMap<String, RegistryRecord>,
    leaving: bool,
}

/// The partitions that the group has assigned to this worker.
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    lease: Arc<Lease>,
    /// The time until which the group has confirmed the membership, if it ever did.
    confirmed_until: Option<BootTime>,
    /// Whether the lease is extended without a confirmation.
    is_offline: bool,
    shares: BTreeMap<i32, AssignedPartition>,
    /// The terms of partitions that the client gave up because no broker answered. Their cameras run until the group
    /// sends the next assignment.
    unconfirmed: BTreeMap<i32, Arc<Ownership>>,
}

impl Assignment {
    pub(crate) fn assign(&mut self, partition: i32) {
        let share = AssignedPartition {
            claim: Claim::Due,
            read: false,
            position: 0,
            records: BTreeMap::new(),
            leaving: false,
        };
        self.shares.insert(partition, share);
    }

    /// Ends the unconfirmed terms of partitions that the new assignment does not contain: another worker has them.
    /// Returns their loss.
    pub(crate) fn end_reassigned(&mut self) -> Vec<FleetEvent> {
        let reassigned: Vec<i32> = self
            .unconfirmed
            .keys()
            .copied()
            .filter(|partition| !self.shares.contains_key(partition))
            .collect();
        reassigned.into_iter().filter_map(|partition| self.forget(partition)).collect()
    }

    /// Applies a record of a partition. Returns an event if this worker owns the partition.
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

    /// Notes that a partition was read to its end.
    pub(crate) fn read(&mut self, partition: i32) {
        if let Some(share) = self.shares.get_mut(&partition) {
            share.read = true;
        }
    }

    /// Returns the partitions for which a claim has to be written now, and marks their claims as sent.
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

    /// Notes the result of a claim: its epoch, or `None` if it was not written.
    pub(crate) fn claimed(&mut self, partition: i32, epoch: Option<Epoch>, now: BootTime) {
        if let Some(share) = self.shares.get_mut(&partition)
            && matches!(share.claim, Claim::Sent)
        {
            share.claim = epoch.map_or(Claim::Due, |epoch| Claim::Written { epoch, at: now });
        }
    }

    /// Renews the lease until `until`, because the group has confirmed a commit that was requested at `asked`.
    /// Returns the partitions that this worker owns from now on.
    pub(crate) fn renew(&mut self, asked: BootTime, until: BootTime) -> Vec<FleetEvent> {
        self.lease.renew(until);
        self.confirmed_until = Some(until);
        self.is_offline = false;
        let mut events = Vec::new();
        for (partition, share) in self.shares.iter_mut().filter(|(_, share)| !share.leaving) {
            match share.claim {
                Claim::Barred => share.claim = Claim::Due,
                Claim::Written { epoch, at } if asked > at => {
                    let ownership = Ownership::leased(epoch, Arc::clone(&self.lease));
                    let (partition, records) = (*partition, share.records.clone());
                    share.claim = Claim::Held(Arc::clone(&ownership));
                    // The camera's thread still publishes the last frames of the old term, before those of the new one.
                    self.unconfirmed.remove(&partition);
                    events.push(FleetEvent::Gained { partition, ownership, records });
                }
                Claim::Due | Claim::Sent | Claim::Written { .. } | Claim::Held(_) => {}
            }
        }
        events
    }

    /// Returns whether a written claim waits for the group's confirmation.
    pub(crate) fn waits(&self) -> bool {
        self.shares.values().any(|share| matches!(share.claim, Claim::Written { .. }))
    }

    /// Extends the lease until `until` if the group has not confirmed the membership by `margin` before the end of the
    /// lease. Returns whether this is the first extension since the last confirmation.
    ///
    /// Must be called at short intervals, so that the lease still expires if this process is paused.
    pub(crate) fn keep_offline(&mut self, now: BootTime, margin: Duration, until: BootTime) -> bool {
        let owns = !self.unconfirmed.is_empty()
            || self.shares.values().any(|share| matches!(share.claim, Claim::Held(_)));
        let is_late = self.confirmed_until.is_some_and(|confirmed| now + margin >= confirmed);
        if !owns || !is_late || !self.lease.holds(now) {
            return false;
        }
        self.lease.renew(until);
        !std::mem::replace(&mut self.is_offline, true)
    }

    /// Ends all ownership terms if the lease has expired. Returns the partitions that were owned.
    pub(crate) fn expire(&mut self, now: BootTime) -> Vec<FleetEvent> {
        if self.lease.holds(now) {
            return Vec::new();
        }
        let mut lost = Vec::new();
        for (partition, share) in &mut self.shares {
            if let Claim::Held(ownership) = &share.claim {
                ownership.end();
                lost.push(FleetEvent::Lost { partition: *partition });
            }
            share.claim = Claim::Barred;
        }
        for (partition, ownership) in std::mem::take(&mut self.unconfirmed) {
            ownership.end();
            lost.push(FleetEvent::Lost { partition });
        }
        lost
    }

    /// Marks a revoked partition as leaving. Returns an event if its cameras have to be drained first.
    pub(crate) fn leave(&mut self, partition: i32) -> Option<FleetEvent> {
        let share = self.shares.get_mut(&partition)?;
        share.leaving = true;
        let runs = matches!(share.claim, Claim::Held(_)) || self.unconfirmed.contains_key(&partition);
        runs.then_some(FleetEvent::Leaving { partition })
    }

    /// Removes a partition that the client gave up. Its term continues if the reason is that no broker answers. Returns an
    /// event if its cameras have to stop.
    pub(crate) fn lose(&mut self, partition: i32) -> Option<FleetEvent> {
        if !self.is_offline {
            return self.forget(partition);
        }
        if let Some(AssignedPartition { claim: Claim::Held(ownership), .. }) = self.shares.remove(&partition)
        {
            self.unconfirmed.insert(partition, ownership);
        }
        None
    }

    /// Removes a partition that this worker has lost or released. Returns an event if its cameras still run.
    pub(crate) fn forget(&mut self, partition: i32) -> Option<FleetEvent> {
        let share = self.shares.remove(&partition);
        let held = match share.map(|share| share.claim) {
            Some(Claim::Held(ownership)) => Some(ownership),
            _ => None,
        };
        let terms: Vec<_> = held.into_iter().chain(self.unconfirmed.remove(&partition)).collect();
        terms.iter().for_each(|ownership| ownership.end());
        (!terms.is_empty()).then_some(FleetEvent::Lost { partition })
    }

    /// Returns each partition with the offset of its next record.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (i32, i64)> {
        self.shares.iter().map(|(partition, share)| (*partition, share.position))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.shares.keys().chain(self.unconfirmed.keys()).copied().collect()
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

    /// Assigns a partition, reads it, claims it with `epoch`, and confirms the claim.
    fn gained(shares: &mut Assignment, epoch: u64) -> Arc<Ownership> {
        shares.assign(3);
        assert!(shares.record(3, 10, "a".into(), camera("a")).is_none());
        assert!(shares.due().is_empty(), "the partition is not read to its end");
        shares.read(3);
        assert_eq!(shares.due(), [3]);
        assert!(shares.due().is_empty(), "a claim is in flight");
        shares.claimed(3, Some(Epoch(epoch)), at(100));
        assert!(shares.renew(at(90), at(6_090)).is_empty(), "the commit was requested before the claim");
        let mut events = shares.renew(at(110), at(6_110));
        let Some(FleetEvent::Gained { partition: 3, ownership, records }) = events.pop() else { panic!() };
        assert_eq!((records.len(), ownership.epoch()), (1, Epoch(epoch)));
        ownership
    }

    #[test]
    fn a_partition_is_owned_once_its_claim_is_written_and_confirmed() {
        let mut shares = Assignment::default();
        let ownership = gained(&mut shares, 7);
        assert!(ownership.holds(at(6_109)) && !ownership.holds(at(6_110)));
        assert!(matches!(shares.record(3, 11, "b".into(), camera("b")), Some(FleetEvent::Changed { .. })));
        assert_eq!(shares.positions().collect::<Vec<_>>(), [(3, 12)]);
    }

    #[test]
    fn a_paused_worker_loses_its_term_and_needs_a_new_epoch() {
        let mut shares = Assignment::default();
        let old = gained(&mut shares, 7);
        assert!(shares.expire(at(6_109)).is_empty());
        assert!(matches!(shares.expire(at(20_000))[..], [FleetEvent::Lost { partition: 3 }]));
        assert!(shares.expire(at(20_001)).is_empty(), "the loss is reported once");
        assert!(shares.due().is_empty(), "the group has not confirmed the membership");
        assert!(shares.renew(at(20_100), at(26_100)).is_empty());
        assert!(!old.holds(at(20_200)), "a renewed lease does not restore the old term");
        assert_eq!(shares.due(), [3]);
        shares.claimed(3, Some(Epoch(9)), at(20_300));
        let events = shares.renew(at(20_400), at(26_400));
        assert!(
            matches!(&events[..], [FleetEvent::Gained { ownership, .. }] if ownership.epoch() == Epoch(9))
        );
    }

    #[test]
    fn a_revoked_partition_is_neither_claimed_nor_changed() {
        let mut shares = Assignment::default();
        let ownership = gained(&mut shares, 7);
        assert!(matches!(shares.leave(3), Some(FleetEvent::Leaving { partition: 3 })));
        assert!(shares.record(3, 11, "b".into(), camera("b")).is_none());
        assert!(ownership.holds(at(500)), "frames in flight may still be published");
        assert!(matches!(shares.forget(3), Some(FleetEvent::Lost { partition: 3 })));
        assert!(!ownership.holds(at(500)) && shares.is_empty());
        shares.assign(4);
        assert!(shares.leave(4).is_none() && shares.forget(4).is_none(), "none of its cameras ran");
    }

    #[test]
    fn a_claim_that_was_not_written_is_retried() {
        let mut shares = Assignment::default();
        shares.assign(3);
        shares.read(3);
        assert_eq!(shares.due(), [3]);
        shares.claimed(3, None, at(1));
        assert_eq!(shares.due(), [3]);
        // An answer for a partition that was removed is ignored.
        let _ = shares.forget(3);
        shares.claimed(3, Some(Epoch(1)), at(2));
        assert!(shares.is_empty());
    }

    /// Runs the turns of the membership thread from `from` to `to`, without a confirmation by the group.
    fn offline(shares: &mut Assignment, from: u64, to: u64) -> usize {
        let mut extensions = 0;
        for ms in (from..to).step_by(20) {
            assert!(shares.expire(at(ms)).is_empty(), "at {ms}");
            extensions +=
                usize::from(shares.keep_offline(at(ms), Duration::from_millis(2_000), at(ms + 3_000)));
        }
        extensions
    }

    #[test]
    fn a_term_goes_on_while_no_broker_answers() {
        let mut shares = Assignment::default();
        let ownership = gained(&mut shares, 7);
        assert_eq!(offline(&mut shares, 110, 4_000), 0, "the group may still confirm in time");
        assert_eq!(offline(&mut shares, 4_000, 60_000), 1);
        assert!(ownership.holds(at(60_000)));
        // The group confirms the same membership, so no other worker was assigned the partition.
        assert!(shares.renew(at(60_100), at(66_100)).is_empty());
        assert!(ownership.holds(at(66_099)) && !ownership.holds(at(66_100)));
    }

    #[test]
    fn a_paused_worker_does_not_extend_its_lease() {
        let mut shares = Assignment::default();
        let ownership = gained(&mut shares, 7);
        offline(&mut shares, 110, 10_000);
        assert!(!ownership.holds(at(20_000)), "it expires without this thread");
        assert!(matches!(shares.expire(at(20_000))[..], [FleetEvent::Lost { partition: 3 }]));
        assert!(!shares.keep_offline(at(20_000), Duration::from_millis(2_000), at(23_000)));
        assert!(!ownership.holds(at(20_000)));
    }

    #[test]
    fn a_partition_that_comes_back_after_an_outage_gets_a_new_term_without_a_gap() {
        let mut shares = Assignment::default();
        let old = gained(&mut shares, 7);
        offline(&mut shares, 110, 30_000);
        assert!(shares.lose(3).is_none(), "its cameras run");
        assert_eq!(shares.partitions(), [3]);
        offline(&mut shares, 30_000, 90_000);
        assert!(old.holds(at(90_000)));
        shares.assign(3);
        assert!(shares.end_reassigned().is_empty());
        shares.read(3);
        assert_eq!(shares.due(), [3]);
        shares.claimed(3, Some(Epoch(9)), at(90_100));
        let events = shares.renew(at(90_200), at(96_200));
        assert!(
            matches!(&events[..], [FleetEvent::Gained { ownership, .. }] if ownership.epoch() == Epoch(9))
        );
        assert!(old.holds(at(90_300)), "the last frames of the old term may be published");
        assert!(matches!(shares.forget(3), Some(FleetEvent::Lost { partition: 3 })));
    }

    #[test]
    fn a_partition_of_another_worker_after_an_outage_ends_the_term() {
        let mut shares = Assignment::default();
        let old = gained(&mut shares, 7);
        offline(&mut shares, 110, 30_000);
        assert!(shares.lose(3).is_none());
        shares.assign(4);
        assert!(matches!(shares.end_reassigned()[..], [FleetEvent::Lost { partition: 3 }]));
        assert!(!old.holds(at(30_000)));
    }

    #[test]
    fn a_partition_that_the_group_takes_away_ends_the_term_at_once() {
        let mut shares = Assignment::default();
        let ownership = gained(&mut shares, 7);
        assert!(matches!(shares.lose(3), Some(FleetEvent::Lost { partition: 3 })));
        assert!(!ownership.holds(at(200)) && shares.is_empty());
    }
}
