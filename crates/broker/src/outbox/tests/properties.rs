//! Properties of the outbox that hold for any sequence of events.

use proptest::prelude::*;

use super::*;

/// The broker's answer for the group of records that a camera has in flight.
#[derive(Debug, Clone)]
enum Answer {
    /// Accepts this many records, and returns the others together.
    Takes(usize),
    /// Accepts all records except those that are rejected individually.
    Rejects(Vec<bool>),
}

#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Send(usize),
    Settle(usize, Answer),
    Refuse,
    TakeBack,
    Wait,
    ExpireAll,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Takes(usize::MAX)),
        2 => (0usize..5).prop_map(Answer::Takes),
        1 => prop::collection::vec(any::<bool>(), 8).prop_map(Answer::Rejects),
    ];
    prop_oneof![
        20 => (0usize..4).prop_map(Step::Publish),
        10 => (1usize..8).prop_map(Step::Send),
        10 => (0usize..4, answer).prop_map(|(which, answer)| Step::Settle(which, answer)),
        1 => Just(Step::Refuse),
        1 => Just(Step::TakeBack),
        4 => Just(Step::Wait),
        1 => Just(Step::ExpireAll),
    ]
}

/// Settles the records that a camera has in flight, the oldest first. Returns those that were delivered.
fn answer(outbox: &mut Outbox, camera: &CameraId, answer: &Answer, now: Instant) -> Vec<u64> {
    let group: Vec<(SeqNo, u64)> = outbox
        .lanes
        .get(camera)
        .into_iter()
        .flat_map(|lane| lane.in_flight.iter().map(|(number, record)| (*number, seq(record))))
        .collect();
    let mut delivered = Vec::new();
    for (n, (number, seq)) in group.into_iter().enumerate() {
        let outcome = match answer {
            Answer::Takes(count) if n < *count => Outcome::Delivered,
            Answer::Takes(_) => Outcome::Retry,
            Answer::Rejects(which) if which.get(n) == Some(&true) => Outcome::Rejected,
            Answer::Rejects(_) => Outcome::Delivered,
        };
        if outcome == Outcome::Delivered {
            delivered.push(seq);
        }
        assert_eq!(outbox.settle(number, outcome, now).as_ref(), Some(camera));
    }
    delivered
}

proptest! {
    /// Every record is accounted for, live records are bounded, lossless records expire only by rejection or at
    /// shutdown, and the records of each camera are delivered in order, whatever happens.
    #[test]
    fn the_ledger_is_consistent_and_each_camera_keeps_its_order(
        buffer in 1usize..12,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut now = Instant::now();
        let mut outbox = outbox(buffer);
        let mut sources =
            [Source::live("a"), Source::live("b"), Source::lossless("c", 5), Source::lossless("d", 3)];
        let mut delivered: [Vec<u64>; 4] = Default::default();
        let mut shut_down = false;
        for step in steps {
            match step {
                Step::Publish(which) => sources[which].publish(&mut outbox, now),
                Step::Send(records) => {
                    for _ in 0..records {
                        if send_one(&mut outbox, now).is_none() {
                            break;
                        }
                    }
                    outbox.round_ends();
                }
                Step::Settle(which, what) => {
                    let camera = sources[which].ledger.camera().clone();
                    delivered[which].extend(answer(&mut outbox, &camera, &what, now));
                }
                Step::Refuse => {
                    let next = outbox.next(now).map(|(number, record)| (number, record.camera.clone()));
                    if let Some((number, camera)) = next {
                        outbox.refused(&camera, number);
                    }
                }
                Step::TakeBack => outbox.requeue(now),
                Step::Wait => now += BACK_OFF,
                Step::ExpireAll => {
                    outbox.expire_all(ExpireCause::Shutdown);
                    shut_down = true;
                }
            }
            prop_assert!(outbox.live_waiting + outbox.live_in_flight <= buffer.max(2) + 1);
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
        // All remaining records are delivered in the end.
        while outbox.waiting() + outbox.in_flight() > 0 {
            now += Duration::from_secs(60);
            send(&mut outbox, now);
            prop_assert!(outbox.in_flight() > 0);
            for (which, source) in sources.iter().enumerate() {
                delivered[which].extend(answer(&mut outbox, source.ledger.camera(), &Answer::Takes(usize::MAX), now));
            }
        }
        for (source, delivered) in sources.iter().zip(delivered) {
            let counts = source.ledger.counts();
            prop_assert_eq!(counts.in_flight + counts.spooled, 0);
            prop_assert_eq!(counts.check(), Ok(()));
            prop_assert!(delivered.is_sorted(), "{:?}", delivered);
            prop_assert_eq!(counts.delivered, delivered.len() as u64);
        }
    }

    /// Cameras whose partition never answers do not affect the others, whatever they publish meanwhile.
    #[test]
    fn stuck_cameras_never_affect_the_others(
        stuck in prop::collection::vec(any::<bool>(), 2..12),
        steps in prop::collection::vec((0usize..12, 1usize..4), 0..400),
    ) {
        let mut now = Instant::now();
        let count = stuck.len();
        // Room for one second of records at the rate of this test.
        let mut outbox = outbox(count * 10);
        let mut sources: Vec<Source> = (0..count).map(|n| Source::live(&format!("cam-{n}"))).collect();
        for (which, records) in steps {
            now += Duration::from_millis(10);
            for _ in 0..records {
                sources[which % count].publish(&mut outbox, now);
            }
            send(&mut outbox, now);
            for (source, _) in sources.iter().zip(&stuck).filter(|(_, stuck)| !**stuck) {
                answer(&mut outbox, source.ledger.camera(), &Answer::Takes(usize::MAX), now);
                send(&mut outbox, now);
            }
        }
        for (source, _) in sources.iter().zip(&stuck).filter(|(_, stuck)| !**stuck) {
            let counts = source.ledger.counts();
            prop_assert_eq!(counts.expired.len(), 0);
            prop_assert_eq!(counts.spooled, 0);
        }
    }
}
