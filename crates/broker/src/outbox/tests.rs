use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use lookout_schema::{CameraId, SessionId};
use lookout_stage::{CameraLedger, Permits};
use proptest::prelude::*;

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

    /// Its next record, if it has a permit for it.
    fn record(&mut self, now: Instant) -> Option<Outgoing> {
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
        Some(Outgoing::new(self.ledger.camera().clone(), payload, ticket, now))
    }

    fn publish(&mut self, outbox: &mut Outbox, now: Instant) {
        if let Some(record) = self.record(now) {
            outbox.push(record);
        }
    }
}

fn outbox(buffer: usize) -> Outbox {
    Outbox::new(NonZeroUsize::new(buffer).unwrap())
}

/// Sends all that may be sent; gives the places.
fn send(outbox: &mut Outbox, now: Instant) -> Vec<Place> {
    let mut places = Vec::new();
    while let Some((place, _)) = outbox.next(now) {
        outbox.sent(place);
        places.push(place);
    }
    places
}

#[test]
fn the_oldest_live_records_that_wait_make_room() {
    let now = Instant::now();
    let (mut outbox, mut gate) = (outbox(10), Source::live("gate"));
    for _ in 0..25 {
        gate.publish(&mut outbox, now);
        send(&mut outbox, now);
    }
    // 0 to 4 fill the window; of the rest the latest 5 wait.
    assert_eq!(outbox.in_flight(), 5);
    let waiting: Vec<_> = outbox.live.values().map(|record| record.payload.clone()).collect();
    assert_eq!(waiting, [20, 21, 22, 23, 24].map(|seq: u64| seq.to_string().into_bytes()));
    let counts = gate.ledger.counts();
    assert_eq!(counts.expired, BTreeMap::from([(ExpireCause::BufferFull, 15)]));
    assert_eq!((counts.in_flight, counts.spooled), (5, 5));
    counts.check().unwrap();
}

#[test]
fn a_buffer_of_one_keeps_the_latest() {
    let now = Instant::now();
    let (mut outbox, mut gate) = (outbox(1), Source::live("gate"));
    for _ in 0..4 {
        gate.publish(&mut outbox, now);
        send(&mut outbox, now);
    }
    let waiting: Vec<_> = outbox.live.values().map(|record| record.payload.clone()).collect();
    assert_eq!(waiting, [b"3"]);
}

#[test]
fn lossless_records_never_expire_and_live_ones_do_not_hold_them_up() {
    let now = Instant::now();
    let (mut outbox, mut gate, mut file) = (outbox(2), Source::live("gate"), Source::lossless("file", 50));
    for _ in 0..100 {
        gate.publish(&mut outbox, now);
        file.publish(&mut outbox, now);
        send(&mut outbox, now);
    }
    let counts = file.ledger.counts();
    assert_eq!((counts.published, counts.in_flight, counts.expired.len()), (50, 50, 0));
    assert_eq!(gate.ledger.counts().in_flight, 1);
}

#[test]
fn after_a_return_nothing_is_sent_until_the_window_is_empty_and_a_moment_has_passed() {
    let now = Instant::now();
    let (mut outbox, mut file) = (outbox(10), Source::lossless("file", 10));
    for _ in 0..3 {
        file.publish(&mut outbox, now);
    }
    assert_eq!(send(&mut outbox, now), [0, 1, 2]);
    file.publish(&mut outbox, now);
    assert!(outbox.settle(1, Outcome::Returned, now).is_some());
    assert!(outbox.next(now + BACK_OFF).is_none(), "0 and 2 are in flight");
    outbox.settle(0, Outcome::Delivered, now);
    outbox.settle(2, Outcome::Returned, now);
    assert!(outbox.next(now + BACK_OFF / 2).is_none(), "too early");
    assert_eq!(send(&mut outbox, now + BACK_OFF), [1, 2, 3]);
}

#[test]
fn of_a_batch_that_is_too_large_only_the_record_at_fault_is_rejected() {
    let now = Instant::now();
    let (mut outbox, mut file) = (outbox(10), Source::lossless("file", 10));
    for _ in 0..3 {
        file.publish(&mut outbox, now);
    }
    for place in send(&mut outbox, now) {
        outbox.settle(place, Outcome::TooLarge, now);
    }
    file.publish(&mut outbox, now);
    let later = now + BACK_OFF;
    for (place, outcome) in [(0, Outcome::Delivered), (1, Outcome::TooLarge), (2, Outcome::Delivered)] {
        assert_eq!(send(&mut outbox, later), [place], "each by itself");
        outbox.settle(place, outcome, later);
    }
    assert_eq!(send(&mut outbox, later), [3]);
    let counts = file.ledger.counts();
    assert_eq!((counts.delivered, counts.expired[&ExpireCause::Rejected], counts.in_flight), (2, 1, 1));
}

#[test]
fn an_answer_that_comes_twice_or_too_late_is_ignored() {
    let now = Instant::now();
    let (mut outbox, mut file) = (outbox(10), Source::lossless("file", 10));
    file.publish(&mut outbox, now);
    send(&mut outbox, now);
    assert!(outbox.settle(0, Outcome::Delivered, now).is_some());
    assert!(outbox.settle(0, Outcome::Returned, now).is_none());
    outbox.expire_all(ExpireCause::Shutdown);
    assert_eq!(file.ledger.counts().delivered, 1);
    assert_eq!(file.ledger.counts().expired.len(), 0);
}

#[test]
fn the_oldest_record_is_found_wherever_it_is() {
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

#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Send(usize),
    Settle(usize, Outcome),
    Refuse,
    TakeBack,
    Wait,
    ExpireAll,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Delivered),
        1 => Just(Outcome::Rejected),
        1 => Just(Outcome::TooLarge),
        2 => Just(Outcome::Returned),
    ];
    prop_oneof![
        20 => (0usize..4).prop_map(Step::Publish),
        10 => (1usize..8).prop_map(Step::Send),
        15 => (0usize..20, outcome).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
        1 => Just(Step::Refuse),
        1 => Just(Step::TakeBack),
        4 => Just(Step::Wait),
        1 => Just(Step::ExpireAll),
    ]
}

proptest! {
    /// Whatever happens, every record is accounted for, live records are bounded, lossless ones expire
    /// only by refusal or shutdown, and each time a camera's records are sent they are in order: a record
    /// that comes back is sent before all that follow it, unless those had been sent already.
    #[test]
    fn the_ledger_adds_up_and_each_camera_keeps_its_order(
        buffer in 1usize..12,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut now = Instant::now();
        let mut outbox = outbox(buffer);
        let mut sources =
            [Source::live("a"), Source::live("b"), Source::lossless("c", 5), Source::lossless("d", 3)];
        let mut shut_down = false;
        for step in steps {
            match step {
                Step::Publish(which) => sources[which].publish(&mut outbox, now),
                Step::Send(records) => {
                    for _ in 0..records {
                        let Some((place, record)) = outbox.next(now) else { break };
                        let earlier = outbox.live.values().chain(outbox.lossless.values())
                            .filter(|other| other.camera == record.camera);
                        let seq = |record: &Outgoing| {
                            String::from_utf8_lossy(&record.payload).parse::<u64>().unwrap()
                        };
                        let first = earlier.map(seq).min();
                        prop_assert_eq!(first, Some(seq(record)));
                        outbox.sent(place);
                    }
                }
                Step::Settle(which, outcome) => {
                    let place = outbox.in_flight.keys().nth(which).copied();
                    if let Some(place) = place {
                        prop_assert!(outbox.settle(place, outcome, now).is_some());
                    }
                }
                Step::Refuse => {
                    let place = outbox.next(now).map(|(place, _)| place);
                    if let Some(place) = place {
                        outbox.refused(place);
                    }
                }
                Step::TakeBack => outbox.take_back(now),
                Step::Wait => now += BACK_OFF,
                Step::ExpireAll => {
                    outbox.expire_all(ExpireCause::Shutdown);
                    shut_down = true;
                }
            }
            let live = outbox.live.len() + outbox.live_in_flight;
            prop_assert!(live <= buffer.max(2));
            let (mut waiting, mut in_flight) = (0, 0);
            for source in &sources {
                let counts = source.ledger.counts();
                prop_assert_eq!(counts.check(), Ok(()));
                if source.permits.is_some() {
                    prop_assert!(!counts.expired.contains_key(&ExpireCause::BufferFull));
                    prop_assert!(shut_down || !counts.expired.contains_key(&ExpireCause::Shutdown));
                }
                waiting += counts.spooled;
                in_flight += counts.in_flight;
            }
            prop_assert_eq!((waiting, in_flight), (outbox.waiting() as u64, outbox.in_flight() as u64));
        }
        // All that is left goes out in the end.
        while outbox.waiting() + outbox.in_flight() > 0 {
            now += BACK_OFF;
            send(&mut outbox, now);
            let places: Vec<Place> = outbox.in_flight.keys().copied().collect();
            prop_assert!(!places.is_empty());
            for place in places {
                outbox.settle(place, Outcome::Delivered, now);
            }
        }
        for source in &sources {
            let counts = source.ledger.counts();
            prop_assert_eq!(counts.in_flight + counts.spooled, 0);
            prop_assert_eq!(counts.check(), Ok(()));
        }
    }
}
