//! Saved and restored state gives the same results as an uninterrupted run, and no input causes a panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lookout_schema::{BBox, Region, Size, TrackerAlgorithm};
use lookout_track::{
    Frame, Line, MAX_OBJECTS, Observation, Track, Tracker, TrackerOutput, TrackerSettings, TtcEstimator,
    Zone, tracker,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

const SOURCE: Size = Size { width: 1280, height: 720 };
const ENDS: [[f32; 2]; 2] = [[0.5, 0.0], [0.5, 1.0]];
const GRACE_S: f64 = 0.5;

fn region() -> Region {
    Region::new(vec![[0.1, 0.1], [0.6, 0.1], [0.6, 0.9], [0.1, 0.9]]).unwrap()
}

fn reloaded<T: Serialize + DeserializeOwned>(state: &T) -> T {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

/// The whole state that a consumer keeps for a camera.
struct Consumer {
    settings: TrackerSettings,
    tracker: Box<dyn Tracker>,
    zone: Zone,
    line: Line,
    closing: TtcEstimator,
}

impl Consumer {
    fn new(algorithm: TrackerAlgorithm) -> Self {
        let settings = TrackerSettings { algorithm, ..TrackerSettings::default() };
        Self {
            settings,
            tracker: tracker(settings, 0),
            zone: Zone::new(region(), GRACE_S),
            line: Line::new(ENDS, 0.01),
            closing: TtcEstimator::default(),
        }
    }

    fn restarted(&self) -> Self {
        Self {
            settings: self.settings,
            tracker: reloaded(&self.tracker.state()).resume(self.settings),
            zone: Zone::resume(region(), GRACE_S, reloaded(self.zone.state())),
            line: Line::resume(ENDS, 0.01, reloaded(self.line.state())),
            closing: reloaded(&self.closing),
        }
    }

    fn step(&mut self, at_s: f64, source: Size, observations: &[Observation]) -> (TrackerOutput, String) {
        let step = self.tracker.update(&Frame { at_s, source, observations });
        let visits = self.zone.step(at_s, source, &step.tracks);
        let crossings = self.line.step(at_s, source, &step.tracks);
        let closing = step.tracks.first().map(|track: &Track| self.closing.step(at_s, track.bbox));
        let rest = format!("{visits:?} {crossings:?} {closing:?} {:?}", self.zone.counts());
        (step, rest)
    }
}

fn observation() -> impl Strategy<Value = Observation> {
    let place = (0.0_f32..1200.0, 0.0_f32..650.0, 10.0_f32..80.0, 10.0_f32..70.0);
    (place, 0_u32..2, 0.0_f32..1.0).prop_map(|((x, y, width, height), class_id, score)| Observation {
        bbox: BBox::from([x, y, x + width, y + height]),
        class_id,
        score,
    })
}

/// Frames in which some objects stay and others come and leave.
fn frames() -> impl Strategy<Value = Vec<(f64, Vec<Observation>)>> {
    let frame = (0.01_f64..0.4, prop::collection::vec(observation(), 0..4), any::<u8>());
    let start = prop::collection::vec(observation(), 1..8);
    (start, prop::collection::vec(frame, 2..60)).prop_map(|(start, frames)| {
        let mut at_s = 0.0;
        let mut going = start;
        let frame = |(dt, others, missed): (f64, Vec<Observation>, u8)| {
            at_s += dt;
            for (i, o) in going.iter_mut().enumerate() {
                let way = (i as f32 - 3.0) * 30.0 * dt as f32;
                o.bbox.x1 += way;
                o.bbox.x2 += way;
            }
            let seen = going.iter().enumerate().filter(|(i, _)| missed >> (i % 8) & 1 == 0);
            (at_s, seen.map(|(_, o)| *o).chain(others).collect())
        };
        frames.into_iter().map(frame).collect()
    })
}

fn hostile_number() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<f32>(),
        -100.0_f32..1400.0,
        prop::sample::select(vec![
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            0.0
        ]),
    ]
}

fn hostile_observation() -> impl Strategy<Value = Observation> {
    let any = (prop::array::uniform4(hostile_number()), 0_u32..3, hostile_number());
    let any = any.prop_map(|(b, class_id, score)| Observation { bbox: BBox::from(b), class_id, score });
    prop_oneof![any, observation()]
}

fn hostile_time() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..10.0_f64,
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1e300, 1e300, 0.0]),
    ]
}

proptest! {
    #[test]
    fn a_restart_changes_nothing(
        frames in frames(),
        at in any::<prop::sample::Index>(),
        algorithm in prop::sample::select(&TrackerAlgorithm::ALL[..]),
    ) {
        let at = at.index(frames.len());
        let mut consumer = Consumer::new(algorithm);
        let mut restarted = Consumer::new(algorithm);
        for (i, (at_s, observations)) in frames.iter().enumerate() {
            if i == at {
                restarted = consumer.restarted();
            }
            let result = consumer.step(*at_s, SOURCE, observations);
            if i >= at {
                prop_assert_eq!(result, restarted.step(*at_s, SOURCE, observations));
            }
        }
    }

    #[test]
    fn hostile_input_does_not_break_the_tracker(
        frames in prop::collection::vec(
            (hostile_time(), 0_u32..3, prop::collection::vec(hostile_observation(), 0..30)), 1..20),
        algorithm in prop::sample::select(&TrackerAlgorithm::ALL[..]),
    ) {
        let mut consumer = Consumer::new(algorithm);
        for (at_s, side, observations) in frames {
            let source = Size { width: side * 640, height: side * 360 };
            let (step, _) = consumer.step(at_s, source, &observations);
            let sound = |track: &Track| <[f32; 4]>::from(track.bbox).iter().all(|part| part.is_finite());
            prop_assert!(step.tracks.iter().all(sound), "{:?}", step.tracks);
            prop_assert!(step.tracks.windows(2).all(|two| two[0].id < two[1].id));
            // The state can be saved at any time: JSON cannot represent NaN or infinity.
            let again = consumer.restarted();
            prop_assert_eq!(again.tracker.state(), consumer.tracker.state());
        }
        // The tracker works again once the input is valid.
        for frame in 0..8 {
            let o = Observation { bbox: BBox::from([100.0, 100.0, 160.0, 220.0]), class_id: 7, score: 0.9 };
            let (step, _) = consumer.step(f64::from(frame) * 0.1 + 1e6, SOURCE, &[o]);
            prop_assert!(frame < 5 || step.tracks.iter().any(|track| track.seen.is_some()), "{:?}", step);
        }
    }
}

#[test]
fn handles_ten_thousand_boxes() {
    for (spread, algorithm) in
        [0.0, 0.1, 37.0].into_iter().flat_map(|s| TrackerAlgorithm::ALL.map(|a| (s, a)))
    {
        let mut consumer = Consumer::new(algorithm);
        let boxes: Vec<Observation> = (0..10_000)
            .map(|i| {
                let [x, y] = [(i % 100) as f32 * spread, (i / 100) as f32 * spread];
                let bbox = BBox::from([x, y, x + 30.0, y + 30.0]);
                Observation { bbox, class_id: 0, score: 0.7 + (i % 7) as f32 / 100.0 }
            })
            .collect();
        for frame in 0..6 {
            let (step, _) = consumer.step(f64::from(frame) * 0.1, SOURCE, &boxes);
            assert!(step.tracks.len() <= MAX_OBJECTS);
        }
        assert!(serde_json::to_string(&consumer.tracker.state()).unwrap().len() < 2_000_000);
    }
}

#[test]
fn restarts_when_time_goes_backwards() {
    let seen = [Observation { bbox: BBox::from([10.0, 10.0, 60.0, 90.0]), class_id: 0, score: 0.99 }];
    for algorithm in TrackerAlgorithm::ALL {
        let mut consumer = Consumer::new(algorithm);
        let mut ids = Vec::new();
        for at_s in [1000.0, 1000.1, 1000.2, 1000.3, 1000.4, 0.0, 0.1, 0.2, 0.3, 0.4] {
            let (step, _) = consumer.step(at_s, SOURCE, &seen);
            assert_eq!(step.ended.len(), usize::from(at_s == 0.0), "{algorithm:?} at {at_s}");
            ids.extend(step.tracks.iter().map(|track| track.id.0));
        }
        ids.dedup();
        assert_eq!(ids, [1, 2], "{algorithm:?}");
    }
}
