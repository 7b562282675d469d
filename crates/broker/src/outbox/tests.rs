mod properties;

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use lookout_schema::{CameraId, SessionId};
use lookout_stage::{CameraLedger, Permits};

use super::*;

/// A camera that publishes into an outbox.
struct Source {
    ledger: Arc<CameraLedger>,
    session: SessionId,
    seq: u64,
    permits: Option<Permits>,
}

impl Source {
    fn live(id: &str) -> Self {
        let camera: CameraId = id.parse().unwrap();
        Self { ledger: CameraLedger::new(camera), session: SessionId::generate(), seq: 0, permits: None }
    }

    fn lossless(id: &str, permits: usize) -> Self {
        Self { permits: Some(Permits::new(NonZeroUsize::new(permits).unwrap())), ..Self::live(id) }
    }

    /// Returns the camera's next record, if there is a permit for it.
    fn record(&mut self, now: Instant) -> Option<PendingRecord> {
        let permit = match &self.permits {
            Some(permits) => Some(permits.acquire(Duration::ZERO)?),
            None => None,
        };
        let mut ticket = self.ledger.receive(self.session, self.seq);
        if let Some(permit) = permit {
            ticket = ticket.with_permit(permit);
        }
        ticket.published(1);
        let payload = self.seq.to_string().into_bytes();
        self.seq += 1;
        Some(PendingRecord::new(self.ledger.camera().clone(), payload, ticket, now))
    }

    fn publish(&mut self, outbox: &mut Outbox, now: Instant) {
        if let Some(record) = self.record(now) {
            outbox.push(record);
        }
    }
}

fn outbox(buffer: usize) -> Outbox {
    Outbox::new(NonZeroUsize::new(buffer).unwrap(), 64 * 1024 * 1024)
}

/// Sends the next record, if one may be sent, and returns its sequence number.
fn send_one(outbox: &mut Outbox, now: Instant) -> Option<SeqNo> {
    let (number, camera) = outbox.next(now).map(|(number, record)| (number, record.camera.clone()))?;
    outbox.sent(&camera, number);
    Some(number)
}

/// Sends all records that may be sent, and returns their sequence numbers.
fn send(outbox: &mut Outbox, now: Instant) -> Vec<SeqNo> {
    let numbers = std::iter::from_fn(|| send_one(outbox, now)).collect();
    outbox.round_ends();
    numbers
}

/// Returns the waiting records of live cameras, in order.
fn waiting(outbox: &Outbox) -> Vec<u64> {
    let mut waiting: Vec<_> = outbox.lanes.values().flat_map(|lane| &lane.waiting).collect();
    waiting.sort_by_key(|(number, _)| **number);
    waiting.into_iter().map(|(_, record)| seq(record)).collect()
}

fn seq(record: &PendingRecord) -> u64 {
    String::from_utf8_lossy(&record.payload).parse().unwrap()
}

#[test]
fn drops_the_oldest_waiting_live_records_when_the_buffer_is_full() {
    let now = Instant::now();
    let (mut outbox, mut gate) = (outbox(10), Source::live("gate"));
    for _ in 0..25 {
        gate.publish(&mut outbox, now);
        send(&mut outbox, now);
    }
    // Record 0 is in flight. The latest 9 of the others wait.
    assert_eq!(outbox.in_flight(), 1);
    assert_eq!(waiting(&outbox), (16..25).collect::<Vec<_>>());
    let counts = gate.ledger.counts();
    assert_eq!(counts.expired, BTreeMap::from([(ExpireCause::BufferFull, 15)]));
    assert_eq!((counts.in_flight, counts.spooled), (1, 9));
    counts.check().unwrap();
}

#[test]
fn sends_the_next_group_after_the_previous_one_is_settled() {
    let now = Instant::now();
    let (mut outbox, mut gate) = (outbox(10), Source::live("gate"));
    for _ in 0..8 {
        gate.publish(&mut outbox, now);
    }
    assert_eq!(send(&mut outbox, now), [0, 1, 2, 3, 4], "half of the buffer may be in flight");
    for number in 0..4 {
        outbox.settle(number, Outcome::Delivered, now);
        assert!(send(&mut outbox, now).is_empty(), "record 4 may still fail");
    }
    outbox.settle(4, Outcome::Delivered, now);
    assert_eq!(send(&mut outbox, now), [5, 6, 7]);
}

#[test]
fn a_buffer_of_one_keeps_the_latest_record() {
    let now = Instant::now();
    let (mut outbox, mut gate) = (outbox(1), Source::live("gate"));
    for _ in 0..4 {
        gate.publish(&mut outbox, now);
        send(&mut outbox, now);
    }
    assert_eq!(waiting(&outbox), [3]);
}

#[test]
fn records_of_file_sources_never_expire_and_do_not_wait_for_live_ones() {
    let now = Instant::now();
    let (mut outbox, mut gate, mut file) = (outbox(2), Source::live("gate"), Source::lossless("file", 50));
    for _ in 0..100 {
        gate.publish(&mut outbox, now);
        file.publish(&mut outbox, now);
    }
    send(&mut outbox, now);
    let counts = file.ledger.counts();
    assert_eq!((counts.published, counts.in_flight, counts.expired.len()), (50, 50, 0));
    assert_eq!(gate.ledger.counts().in_flight, 1);
}

#[test]
fn a_returned_record_is_sent_again_after_its_group_is_settled_and_the_backoff() {
    let now = Instant::now();
    let (mut outbox, mut file) = (outbox(10), Source::lossless("file", 10));
    for _ in 0..3 {
        file.publish(&mut outbox, now);
    }
    assert_eq!(send(&mut outbox, now), [0, 1, 2]);
    file.publish(&mut outbox, now);
    assert!(outbox.settle(1, Outcome::Retry, now).is_some());
    assert!(outbox.next(now + BACK_OFF).is_none(), "records 0 and 2 are in flight");
    outbox.settle(0, Outcome::Delivered, now);
    outbox.settle(2, Outcome::Retry, now);
    assert!(outbox.next(now + BACK_OFF / 2).is_none(), "the backoff has not passed");
    let later = now + BACK_OFF;
    assert_eq!(send(&mut outbox, later), [1], "one record is sent at a time until one is delivered");
    outbox.settle(1, Outcome::Delivered, later);
    assert_eq!(send(&mut outbox, later), [2, 3]);
}

#[test]
fn the_backoff_doubles_while_records_are_returned() {
    let mut now = Instant::now();
    let (mut outbox, mut file) = (outbox(10), Source::lossless("file", 10));
    file.publish(&mut outbox, now);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(send(&mut outbox, now), [0]);
        outbox.settle(0, Outcome::Retry, now);
        let pause = (1..).map(|n| BACK_OFF * n).find(|pause| outbox.next(now + *pause).is_some()).unwrap();
        pauses.push(pause.as_millis());
        now += pause;
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 4000, 4000]);
}

#[test]
fn a_stuck_camera_does_not_delay_the_others() {
    let mut now = Instant::now();
    let mut outbox = outbox(60);
    let mut cameras: Vec<Source> = ["a", "b", "c", "d", "e", "f"].map(Source::live).into();
    for second in 0..600 {
        now += Duration::from_millis(100);
        for camera in &mut cameras {
            camera.publish(&mut outbox, now);
        }
        send(&mut outbox, now);
        // The partition of `c` and `f` has no leader, so no answer ever arrives.
        let answers =
            outbox.in_flight.clone().into_iter().filter(|(_, camera)| !["c", "f"].contains(&camera.as_str()));
        for (number, _) in answers {
            outbox.settle(number, Outcome::Delivered, now);
        }
        if second == 599 {
            let held_up: Vec<_> = outbox.held_up(now).map(|(camera, _)| camera.as_str()).collect();
            assert_eq!(held_up, ["c", "f"]);
        }
    }
    for camera in &cameras {
        let counts = camera.ledger.counts();
        counts.check().unwrap();
        if ["c", "f"].contains(&camera.ledger.camera().as_str()) {
            assert_eq!(counts.delivered, 0);
        } else {
            assert_eq!((counts.delivered, counts.expired.len()), (600, 0), "{}", camera.ledger.camera());
        }
    }
}

#[test]
fn reports_a_camera_after_consecutive_rejected_records() {
    let now = Instant::now();
    let (mut outbox, mut gate) = (outbox(10), Source::live("gate"));
    for number in 0..4 {
        assert_eq!(outbox.refused_cameras().count(), usize::from(number > 2));
        gate.publish(&mut outbox, now);
        send(&mut outbox, now);
        outbox.settle(number, Outcome::Rejected, now);
    }
    gate.publish(&mut outbox, now);
    send(&mut outbox, now);
    outbox.settle(4, Outcome::Delivered, now);
    assert_eq!(outbox.refused_cameras().count(), 0);
}

#[test]
fn ignores_duplicate_and_late_delivery_reports() {
    let now = Instant::now();
    let (mut outbox, mut file) = (outbox(10), Source::lossless("file", 10));
    file.publish(&mut outbox, now);
    send(&mut outbox, now);
    assert!(outbox.settle(0, Outcome::Delivered, now).is_some());
    assert!(outbox.settle(0, Outcome::Retry, now).is_none());
    outbox.expire_all(ExpireCause::Shutdown);
    assert_eq!(file.ledger.counts().delivered, 1);
    assert_eq!(file.ledger.counts().expired.len(), 0);
}

#[test]
fn finds_the_oldest_record_waiting_or_in_flight() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let (mut outbox, mut gate) = (outbox(10), Source::live("gate"));
    assert_eq!(outbox.oldest(), None);
    gate.publish(&mut outbox, now);
    send(&mut outbox, now);
    gate.publish(&mut outbox, later);
    assert_eq!(outbox.oldest(), Some(now));
    outbox.settle(0, Outcome::Delivered, later);
    assert_eq!(outbox.oldest(), Some(later));
}
