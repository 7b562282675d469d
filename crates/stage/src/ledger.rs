//! The counters of one camera's frames, and the ticket by which each frame is counted.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lookout_schema::{CameraId, DropCause, ExpireCause, LedgerCounts, SessionId};

use crate::{Ownership, Permit};

/// Counts the outcome of each of a camera's frames. Shared by all its tickets.
#[derive(Debug)]
pub struct CameraLedger {
    camera: CameraId,
    ownership: Arc<Ownership>,
    account: Mutex<Account>,
    /// When the last record was published, in microseconds of the Unix epoch; used for readiness.
    last_published_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Account {
    counts: LedgerCounts,
    /// Drops that no record has reported yet, oldest first.
    unnamed: VecDeque<DropNote>,
}

#[derive(Debug)]
struct DropNote {
    session: SessionId,
    seq: u64,
    cause: DropCause,
    frames: u64,
}

/// The maximum number of drops that are kept apart until a record reports them. Further drops are added to existing
/// entries, so that memory stays bounded for a camera whose every frame is dropped.
const MAX_UNNAMED: usize = 1024;

impl CameraLedger {
    /// Creates the ledger of a camera that has no other owner.
    pub fn new(camera: CameraId) -> Arc<Self> {
        Self::within(camera, Ownership::without_end())
    }

    /// Creates the ledger of a camera in one worker's ownership term.
    pub fn within(camera: CameraId, ownership: Arc<Ownership>) -> Arc<Self> {
        Arc::new(Self { camera, ownership, account: Mutex::default(), last_published_us: AtomicU64::new(0) })
    }

    /// Returns the ownership term to which the ledger belongs.
    pub fn ownership(&self) -> &Arc<Ownership> {
        &self.ownership
    }

    /// Returns the camera's id.
    pub fn camera(&self) -> &CameraId {
        &self.camera
    }

    /// Returns a consistent copy, which always passes [`LedgerCounts::check`].
    pub fn counts(&self) -> LedgerCounts {
        self.account().counts.clone()
    }

    /// Counts a decoded frame and returns the ticket that must accompany it.
    pub fn receive(self: &Arc<Self>, session: SessionId, seq: u64) -> Ticket {
        let mut account = self.account();
        account.counts.received += 1;
        account.counts.processing += 1;
        drop(account);
        Ticket { ledger: Arc::clone(self), session, seq, at: At::Processing, permit: None }
    }

    /// Counts a decoded frame that is dropped at once.
    pub fn receive_and_drop(self: &Arc<Self>, session: SessionId, seq: u64, cause: DropCause) {
        let mut account = self.account();
        account.counts.received += 1;
        account.dropped(session, seq, cause);
    }

    /// Returns when the camera's last record was published, in microseconds of the Unix epoch; 0 before the first.
    pub fn last_published_us(&self) -> u64 {
        self.last_published_us.load(Relaxed)
    }

    // Each critical section is a few additions, so the counters are consistent even if the lock is poisoned.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn dropped(&mut self, session: SessionId, seq: u64, cause: DropCause) {
        *self.counts.dropped.entry(cause).or_default() += 1;
        if self.unnamed.len() >= MAX_UNNAMED
            && let Some(last) =
                self.unnamed.iter_mut().rev().find(|n| n.session == session && n.cause == cause)
        {
            last.seq = last.seq.max(seq);
            last.frames += 1;
            return;
        }
        self.unnamed.push_back(DropNote { session, seq, cause, frames: 1 });
    }

    /// Removes and returns the drops of `session` before `seq`, and discards drops of earlier sessions.
    fn take_unnamed(&mut self, session: SessionId, seq: u64) -> BTreeMap<DropCause, u64> {
        let mut named = BTreeMap::new();
        self.unnamed.retain(|note| {
            let before = note.session == session && note.seq < seq;
            if before {
                *named.entry(note.cause).or_default() += note.frames;
            }
            !before && note.session >= session
        });
        named
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Processing,
    Spooled,
    InFlight,
    Settled,
}

/// One frame's entry in its camera's ledger. It accompanies the frame from the decoder to the broker's acknowledgment.
/// A ticket that is dropped before it was settled is counted as lost by the stage that held it.
#[derive(Debug)]
pub struct Ticket {
    ledger: Arc<CameraLedger>,
    session: SessionId,
    seq: u64,
    at: At,
    permit: Option<Permit>,
}

impl Ticket {
    /// Returns the camera, the session and the sequence number of the frame.
    pub(crate) fn frame(&self) -> (&CameraId, SessionId, u64) {
        (self.ledger.camera(), self.session, self.seq)
    }

    /// Holds `permit` until the frame is settled.
    pub fn with_permit(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Returns whether the frame's source waits instead of losing frames, so that its record must not expire because
    /// the buffer is full.
    pub fn is_lossless(&self) -> bool {
        self.permit.is_some()
    }

    /// Returns the ownership term in which the frame was received.
    pub fn ownership(&self) -> &Arc<Ownership> {
        &self.ledger.ownership
    }

    /// Settles the frame as dropped: it will have no record.
    pub fn dropped(mut self, cause: DropCause) {
        self.settle(Settled::Dropped(cause));
    }

    /// Counts the frame as published: its record now waits for the broker. Returns the drops that this record has to
    /// report: those of its session since the previous record.
    pub fn published(&mut self, at_unix_us: i64) -> BTreeMap<DropCause, u64> {
        debug_assert_eq!(self.at, At::Processing, "a frame is published only once");
        self.at = At::Spooled;
        self.ledger.last_published_us.store(u64::try_from(at_unix_us).unwrap_or(0), Relaxed);
        let mut account = self.ledger.account();
        account.counts.processing -= 1;
        account.counts.published += 1;
        account.counts.spooled += 1;
        account.take_unnamed(self.session, self.seq)
    }

    /// Counts the record as handed to the Kafka client.
    pub fn sent(&mut self) {
        self.turn(At::Spooled, At::InFlight);
    }

    /// Counts the record as returned by the Kafka client, unsent or to be retried.
    pub fn returned(&mut self) {
        self.turn(At::InFlight, At::Spooled);
    }

    /// Settles the record as acknowledged by the broker.
    pub fn delivered(mut self) {
        self.settle(Settled::Delivered);
    }

    /// Settles the record as expired: it never reached the broker.
    pub fn expired(mut self, cause: ExpireCause) {
        self.settle(Settled::Expired(cause));
    }

    fn turn(&mut self, from: At, to: At) {
        debug_assert_eq!(self.at, from, "a record moves only between spooled and in flight");
        let mut account = self.ledger.account();
        *account.counts.place(self.at) -= 1;
        *account.counts.place(to) += 1;
        self.at = to;
    }

    fn settle(&mut self, settled: Settled) {
        let at = mem::replace(&mut self.at, At::Settled);
        if at == At::Settled {
            return;
        }
        let mut account = self.ledger.account();
        *account.counts.place(at) -= 1;
        match settled {
            Settled::Dropped(cause) => account.dropped(self.session, self.seq, cause),
            Settled::Delivered => account.counts.delivered += 1,
            Settled::Expired(cause) => *account.counts.expired.entry(cause).or_default() += 1,
        }
    }
}

#[derive(Clone, Copy)]
enum Settled {
    Dropped(DropCause),
    Delivered,
    Expired(ExpireCause),
}

trait Place {
    fn place(&mut self, at: At) -> &mut u64;
}

impl Place for LedgerCounts {
    fn place(&mut self, at: At) -> &mut u64 {
        match at {
            At::Processing => &mut self.processing,
            At::Spooled => &mut self.spooled,
            At::InFlight => &mut self.in_flight,
            At::Settled => &mut self.delivered,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.at {
            At::Processing => self.settle(Settled::Dropped(DropCause::StageFailed)),
            At::Spooled | At::InFlight => self.settle(Settled::Expired(ExpireCause::SinkFailed)),
            At::Settled => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger() -> Arc<CameraLedger> {
        CameraLedger::new("gate".parse().unwrap())
    }

    #[test]
    fn a_ticket_that_is_dropped_unsettled_is_counted() {
        let ledger = ledger();
        let session = SessionId::generate();
        drop(ledger.receive(session, 0));
        let mut published = ledger.receive(session, 1);
        published.published(1);
        drop(published);
        let counts = ledger.counts();
        assert_eq!(counts.dropped, BTreeMap::from([(DropCause::StageFailed, 1)]));
        assert_eq!(counts.expired, BTreeMap::from([(ExpireCause::SinkFailed, 1)]));
        counts.check().unwrap();
    }

    #[test]
    fn a_record_reports_only_the_drops_before_it() {
        let ledger = ledger();
        let session = SessionId::generate();
        let mut kept = ledger.receive(session, 2);
        for (seq, cause) in [(0, DropCause::QueueFull), (1, DropCause::FpsLimit), (3, DropCause::Stale)] {
            ledger.receive_and_drop(session, seq, cause);
        }
        assert_eq!(kept.published(1), BTreeMap::from([(DropCause::QueueFull, 1), (DropCause::FpsLimit, 1)]));
        let mut next = ledger.receive(session, 4);
        assert_eq!(next.published(2), BTreeMap::from([(DropCause::Stale, 1)]));
    }

    #[test]
    fn unreported_drops_use_bounded_memory() {
        let ledger = ledger();
        let session = SessionId::generate();
        for seq in 0..100_000 {
            ledger.receive_and_drop(session, seq, DropCause::Stale);
        }
        assert!(ledger.account().unnamed.len() <= MAX_UNNAMED + DropCause::ALL.len());
        let mut next = ledger.receive(session, 100_000);
        assert_eq!(next.published(1), BTreeMap::from([(DropCause::Stale, 100_000)]));
    }

    #[test]
    fn a_permit_is_returned_with_the_ticket() {
        use std::{num::NonZeroUsize, time::Duration};
        let permits = crate::Permits::new(NonZeroUsize::MIN);
        let ledger = ledger();
        let permit = permits.acquire(Duration::ZERO).unwrap();
        let ticket = ledger.receive(SessionId::generate(), 0).with_permit(permit);
        assert!(permits.acquire(Duration::ZERO).is_none());
        ticket.dropped(DropCause::Shutdown);
        assert!(permits.acquire(Duration::ZERO).is_some());
    }

    proptest! {
        #[test]
        fn the_ledger_is_balanced_after_every_step(steps in prop::collection::vec((0usize..8, 0usize..8), 0..200)) {
            let ledger = ledger();
            let session = SessionId::generate();
            let mut held: Vec<Ticket> = Vec::new();
            for (seq, (step, which)) in steps.into_iter().enumerate() {
                if step == 0 || held.is_empty() {
                    held.push(ledger.receive(session, seq as u64));
                } else {
                    let mut ticket = held.swap_remove(which % held.len());
                    match (step, ticket.at) {
                        (1, At::Processing) => ticket.dropped(DropCause::Stale),
                        (_, At::Processing) => { ticket.published(1); held.push(ticket); }
                        (1..=4, At::Spooled) => { ticket.sent(); held.push(ticket); }
                        (_, At::Spooled) => ticket.expired(ExpireCause::BufferFull),
                        (1, At::InFlight) => { ticket.returned(); held.push(ticket); }
                        (2..=5, At::InFlight) => ticket.delivered(),
                        _ => drop(ticket),
                    }
                }
                prop_assert_eq!(ledger.counts().check(), Ok(()));
            }
            drop(held);
            let counts = ledger.counts();
            prop_assert_eq!(counts.check(), Ok(()));
            prop_assert_eq!(counts.processing + counts.in_flight + counts.spooled, 0);
        }
    }
}
