//! Strategies that generate valid records.

use std::collections::BTreeMap;

use lookout_schema::{
    AlertEvidence, AlertLevel, AlertRecord, AlertState, BBox, CameraStatus, CameraStatusRecord,
    Classification, Clock, CollisionEvidence, Detection, DropCause, Epoch, ExpireCause, FrameRecord,
    FrameRef, LedgerCounts, LineCrossing, LineDirection, ModelInfo, ObjectRef, RetryReason, SessionId, Size,
    SnapshotRecord, StatusRecord, Timestamp, TimingUs, TrackEvent, TrackRecord, WorkerFleet, WorkerLoad,
    WorkerState, WorkerStatusRecord, ZoneStay,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

const SOURCE: Size = Size { width: 1920, height: 1080 };

fn id<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,12}".prop_map(|text| text.parse().unwrap())
}

fn session() -> impl Strategy<Value = SessionId> {
    "[0-7][0-9A-HJKMNP-TV-Z]{25}".prop_map(|text| text.parse().unwrap())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_unix_us)
}

fn clock() -> impl Strategy<Value = Clock> {
    select(vec![Clock::Rtcp, Clock::Arrival, Clock::File])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{1,20}"]
}

/// Returns scores from 0 to 1. They are `f32`, which both formats encode exactly.
fn score() -> impl Strategy<Value = f32> {
    0.0f32..=1.0
}

/// Returns numbers with few digits. serde_json may change the last digit of an `f64` that uses its full
/// precision.
fn number() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|number| f64::from(number) / 64.0)
}

fn class() -> impl Strategy<Value = Classification> {
    (any::<u32>(), text(), score()).prop_map(|(class_id, label, score)| Classification {
        class_id,
        label,
        score,
    })
}

fn bbox() -> impl Strategy<Value = BBox> {
    (0.0f32..1900.0, 0.0f32..1000.0, 1.0f32..20.0, 1.0f32..80.0)
        .prop_map(|(x, y, width, height)| [x, y, x + width, y + height].into())
}

fn detection() -> impl Strategy<Value = Detection> {
    (any::<u32>(), text(), score(), bbox(), vec(class(), 0..3)).prop_map(
        |(class_id, label, score, bbox, classes)| Detection { class_id, label, score, bbox, classes },
    )
}

fn model() -> impl Strategy<Value = ModelInfo> {
    (text(), text(), text()).prop_map(|(arch, weights, precision)| ModelInfo { arch, weights, precision })
}

fn ledger() -> impl Strategy<Value = LedgerCounts> {
    let dropped = btree_map(select(DropCause::ALL.to_vec()), any::<u64>(), 0..5);
    let expired = btree_map(select(ExpireCause::ALL.to_vec()), any::<u64>(), 0..4);
    (any::<[u64; 6]>(), dropped, expired).prop_map(
        |([received, processing, published, delivered, in_flight, spooled], dropped, expired)| LedgerCounts {
            received,
            processing,
            published,
            delivered,
            in_flight,
            spooled,
            dropped,
            expired,
        },
    )
}

pub(crate) fn frame() -> impl Strategy<Value = FrameRecord> {
    let names = (id(), id(), session(), clock(), any::<[u64; 6]>());
    let times = (time(), time(), any::<i64>(), option::of(any::<u64>()));
    let dropped = btree_map(select(DropCause::ALL.to_vec()), any::<u64>(), 0..5);
    let seen = (vec(detection(), 0..4), vec(class(), 0..4), dropped);
    (names, times, model(), option::of(model()), seen).prop_map(|(names, times, model, classifier, seen)| {
        let (camera, worker, session, clock, [epoch, seq, decode, queue, infer, post]) = names;
        let (captured_at, published_at, age_ms, pts_ns) = times;
        let (detections, classes, dropped_before) = seen;
        FrameRecord {
            schema: FrameRecord::SCHEMA.into(),
            camera,
            worker,
            epoch: Epoch(epoch),
            session,
            seq,
            pts_ns,
            captured_at,
            clock,
            published_at,
            age_ms,
            timing_us: TimingUs { decode, queue, infer, post },
            source: SOURCE,
            model,
            classifier,
            dropped_before,
            detections,
            classes,
        }
    })
}

pub(crate) fn snapshot() -> impl Strategy<Value = SnapshotRecord> {
    (frame(), vec(any::<u8>(), 0..50)).prop_map(|(frame, bytes)| SnapshotRecord {
        schema: SnapshotRecord::SCHEMA.into(),
        camera: frame.camera,
        worker: frame.worker,
        epoch: frame.epoch,
        session: frame.session,
        seq: frame.seq,
        captured_at: frame.captured_at,
        clock: frame.clock,
        source: SOURCE,
        image: Size { width: 320, height: 180 },
        jpeg: [&[0xFF, 0xD8, 0xFF], &bytes[..]].concat(),
        detections: frame.detections,
    })
}

pub(crate) fn status() -> impl Strategy<Value = StatusRecord> {
    prop_oneof![camera().prop_map(StatusRecord::Camera), worker().prop_map(StatusRecord::Worker)]
}

fn camera() -> impl Strategy<Value = CameraStatusRecord> {
    let names = (id(), id(), option::of(session()), option::of(clock()), time());
    let states = (select(CameraStatus::ALL.to_vec()), option::of(select(RetryReason::ALL.to_vec())));
    let numbers = (any::<[u64; 2]>(), number().prop_map(f64::abs), option::of(any::<i64>()));
    let optional = (option::of(text()), option::of(any::<u8>()), option::of(any::<u32>()));
    (names, states, numbers, optional, ledger()).prop_map(|(names, states, numbers, optional, ledger)| {
        let (camera, worker, session, clock, at) = names;
        let ([epoch, reconnects], fps, age_ms) = numbers;
        let (detail, priority, degraded) = optional;
        CameraStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at,
            camera,
            worker,
            epoch: Epoch(epoch),
            session,
            status: states.0,
            retry: states.1,
            detail,
            reconnects,
            fps,
            age_ms,
            clock,
            ledger,
            priority,
            degraded,
        }
    })
}

fn worker() -> impl Strategy<Value = WorkerStatusRecord> {
    let state = select(vec![
        WorkerState::Starting,
        WorkerState::Running,
        WorkerState::Draining,
        WorkerState::Stopped,
    ]);
    let names = (id(), text(), text(), model(), state);
    let load = (option::of(any::<u64>()), option::of(any::<u64>()), any::<u64>());
    let load = load.prop_map(|(age_ms, latency_budget_ms, degraded_cameras)| WorkerLoad {
        age_ms,
        latency_budget_ms,
        degraded_cameras,
    });
    let fleet = (vec(any::<i32>(), 0..4), option::of(any::<u64>()), any::<u64>(), vec(text(), 0..3));
    let fleet = fleet.prop_map(|(partitions, max_cameras, cameras_over_limit, invalid_records)| {
        WorkerFleet { partitions, max_cameras, cameras_over_limit, invalid_records }
    });
    let numbers = (any::<[u64; 2]>(), number(), number(), time(), time());
    (names, numbers, ledger(), option::of(load), option::of(fleet)).prop_map(
        |(names, numbers, ledger, load, fleet)| {
            let (worker, version, device, model, state) = names;
            let ([cameras, stage_restarts], device_busy, batch_size, at, started_at) = numbers;
            WorkerStatusRecord {
                schema: StatusRecord::SCHEMA.into(),
                at,
                worker,
                version,
                state,
                started_at,
                cameras,
                model,
                device,
                device_busy,
                batch_size,
                stage_restarts,
                ledger,
                load,
                fleet,
            }
        },
    )
}

fn direction() -> impl Strategy<Value = LineDirection> {
    select(vec![LineDirection::LeftToRight, LineDirection::RightToLeft])
}

pub(crate) fn track() -> impl Strategy<Value = TrackRecord> {
    let event = select(vec![TrackEvent::New, TrackEvent::Update, TrackEvent::End]);
    let zones = vec((text(), number()).prop_map(|(zone, dwell_s)| ZoneStay { zone, dwell_s }), 0..3);
    let crossed = (text(), direction()).prop_map(|(line, direction)| LineCrossing { line, direction });
    let more = (event, any::<u32>(), zones, vec(crossed, 0..3), [-1e4f32..1e4, -1e4f32..1e4]);
    (frame(), detection(), text(), time(), more).prop_map(|(frame, seen, tracker, last_seen_at, more)| {
        let (event, hits, zones, crossed, velocity) = more;
        TrackRecord {
            schema: TrackRecord::SCHEMA.into(),
            camera: frame.camera,
            epoch: frame.epoch,
            session: frame.session,
            tracker,
            id: frame.timing_us.decode,
            event,
            seq: frame.seq,
            captured_at: frame.captured_at,
            clock: frame.clock,
            published_at: frame.published_at,
            age_ms: frame.age_ms,
            class_id: seen.class_id,
            label: seen.label,
            score: seen.score,
            source: SOURCE,
            bbox: seen.bbox,
            velocity,
            first_seen_at: frame.published_at,
            last_seen_at,
            hits,
            zones,
            crossed,
        }
    })
}

fn object() -> impl Strategy<Value = ObjectRef> {
    (text(), any::<u64>(), text(), score(), bbox()).prop_map(|(tracker, id, label, score, bbox)| ObjectRef {
        tracker,
        id,
        label,
        score,
        bbox,
    })
}

fn evidence() -> impl Strategy<Value = AlertEvidence> {
    let optional = || option::of(number());
    let collision = (object(), number(), number(), number(), (optional(), optional(), optional()));
    let collision = collision.prop_map(|(object, ttc_s, ttc_low_s, observed_s, optional)| {
        let (ttc_high_s, distance_m, closing_speed_m_s) = optional;
        let seen = CollisionEvidence {
            object,
            ttc_s,
            ttc_low_s,
            ttc_high_s,
            observed_s,
            distance_m,
            closing_speed_m_s,
        };
        AlertEvidence::Collision(seen)
    });
    let status = select(CameraStatus::ALL.to_vec());
    prop_oneof![
        collision,
        (option::of(text()), any::<[u64; 2]>(), number())
            .prop_map(|(zone, [count, limit], for_s)| AlertEvidence::Count { zone, count, limit, for_s }),
        (text(), direction(), object()).prop_map(|(line, direction, object)| AlertEvidence::Line {
            line,
            direction,
            object
        }),
        (text(), number(), object()).prop_map(|(zone, dwell_s, object)| AlertEvidence::Dwell {
            zone,
            dwell_s,
            object
        }),
        (status, option::of(text()), number())
            .prop_map(|(status, detail, for_s)| AlertEvidence::CameraDown { status, detail, for_s }),
        number().prop_map(|for_s| AlertEvidence::WorkerDown { for_s }),
        (any::<[i64; 2]>(), number()).prop_map(|([age_ms, budget_ms], for_s)| AlertEvidence::Latency {
            age_ms,
            budget_ms,
            for_s,
        }),
        (text(), btree_map(text(), number(), 0..4), btree_map(text(), text(), 0..4), option::of(object()))
            .prop_map(|(rule_kind, numbers, texts, object)| AlertEvidence::Other {
                rule_kind,
                numbers,
                texts,
                object
            }),
    ]
}

pub(crate) fn alert() -> impl Strategy<Value = AlertRecord> {
    let state = select(vec![AlertState::Raised, AlertState::Changed, AlertState::Cleared]);
    let names = ("[a-z/]{1,20}", "[a-z]{1,8}", "[a-z]{1,8}", text());
    let kind = (state, select(AlertLevel::ALL.to_vec()), any::<u32>(), any::<i64>());
    let frame = (any::<[u64; 2]>(), session());
    let frame = frame.prop_map(|([epoch, seq], session)| FrameRef { epoch: Epoch(epoch), session, seq });
    let of = (option::of(id()), option::of(id()), option::of(frame));
    (names, kind, [time(), time(), time()], of, evidence()).prop_map(|(names, kind, times, of, evidence)| {
        let (id, consumer, rule, message) = names;
        let (state, level, version, age_ms) = kind;
        let [at, raised_at, published_at] = times;
        let (camera, worker, frame) = of;
        AlertRecord {
            schema: AlertRecord::SCHEMA.into(),
            id,
            version,
            consumer,
            rule,
            state,
            level,
            at,
            raised_at,
            published_at,
            age_ms,
            camera,
            worker,
            frame,
            message,
            evidence,
        }
    })
}

/// Returns a typical frame record with ten detections.
pub(crate) fn usual_frame() -> FrameRecord {
    let read = |text: &str| serde_json::from_str(text).unwrap();
    let mut frame: FrameRecord = read(include_str!("../../../schema/tests/golden/frame.1.json"));
    let detection = frame.detections[0].clone();
    frame.detections = vec![detection; 10];
    frame.classes.clear();
    frame.dropped_before = BTreeMap::new();
    frame
}
