//! A vehicle on a flat road, with simulated objects, camera and detector.
//!
//! The camera is a 1280x720 pinhole camera with a horizontal field of view of 60 degrees, 1.3 m above the
//! ground, at 10 frames/s. Objects are cuboids, so near the image border one of their sides is visible, too.
//! The detector misses 10 % of the objects and has normal jitter of 2 pixels at each side of each box. Boxes
//! end at the image border.

use std::collections::BTreeMap;

use lookout_adas::{Assessment, EgoCamera, Limits, Seen};
use lookout_config::{Calibration, CorridorSettings, ForwardSettings, Lens, PathSettings};
use lookout_schema::{
    AlertRecord, AlertState, BBox, Clock, Detection, Epoch, FrameRecord, ModelInfo, SessionId, Size,
    Timestamp, TimingUs,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(crate) const SOURCE: Size = Size { width: 1280, height: 720 };
pub(crate) const FPS: f64 = 10.0;
pub(crate) const LIMITS: Limits = Limits { latency_budget: std::time::Duration::from_millis(300) };
const FOCAL: f64 = 1108.5;
const HEIGHT_M: f64 = 1.3;
const MISSED: f64 = 0.1;
/// Sizes in meters: width, height, length.
const CAR: [f64; 3] = [1.8, 1.5, 4.4];
const TRUCK: [f64; 3] = [2.5, 3.5, 9.0];
const PERSON: [f64; 3] = [0.5, 1.75, 0.4];
const BICYCLE: [f64; 3] = [0.6, 1.7, 1.7];

/// Another road user. The position is the middle of its rear, in meters to the right of the vehicle's center
/// and ahead of its camera; velocities are relative to the vehicle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Other {
    pub(crate) label: &'static str,
    pub(crate) at: [f64; 2],
    pub(crate) velocity: [f64; 2],
    pub(crate) size: [f64; 3],
    /// The constant deceleration of an object ahead, in m/s².
    pub(crate) braking: f64,
    /// The turn rate of the vehicle to the right, in radians per second.
    pub(crate) turning: f64,
}

impl Other {
    /// Returns an object that arrives in `ttc` seconds, `offset` meters to the right, and moves sideways at
    /// `across` m/s.
    pub(crate) fn coming(label: &'static str, ttc: f64, closing: f64, [offset, across]: [f64; 2]) -> Self {
        let size = match label {
            "person" => PERSON,
            "bicycle" => BICYCLE,
            "truck" => TRUCK,
            _ => CAR,
        };
        Self {
            label,
            at: [offset - across * ttc, closing * ttc],
            velocity: [across, -closing],
            size,
            braking: 0.0,
            turning: 0.0,
        }
    }

    fn after(&self, seconds: f64) -> Self {
        const STEP: f64 = 0.01;
        let (mut at, mut closing) = (self.at, self.velocity[1]);
        for _ in 0..(seconds / STEP).round() as u32 {
            closing -= self.braking * STEP;
            let [x, ahead] = at;
            at[0] += (self.velocity[0] - self.turning * ahead) * STEP;
            at[1] += (closing + self.turning * x) * STEP;
        }
        Self { at, ..*self }
    }

    /// Returns the box of the visible part; `None` if the object is not ahead of the camera.
    fn bbox(&self) -> Option<[f64; 4]> {
        let [width, height, length] = self.size;
        let [x, ahead] = self.at;
        if ahead < 0.5 {
            return None;
        }
        let mut bbox = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        for depth in [ahead, ahead + length] {
            for side in [x - width / 2.0, x + width / 2.0] {
                for down in [HEIGHT_M, HEIGHT_M - height] {
                    let point = [640.0 + FOCAL * side / depth, 360.0 + FOCAL * down / depth];
                    for axis in [0, 1] {
                        bbox[axis] = bbox[axis].min(point[axis]);
                        bbox[axis + 2] = bbox[axis + 2].max(point[axis]);
                    }
                }
            }
        }
        Some(bbox)
    }
}

/// The content of a scene.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) others: Vec<Other>,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
}

/// The result for one frame of a scene.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) at_s: f64,
    pub(crate) assessment: Assessment,
    pub(crate) seen: Vec<Seen>,
}

pub(crate) fn normal(random: &mut StdRng) -> f64 {
    (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

pub(crate) fn start_time() -> Timestamp {
    Timestamp::from_unix_us(1_795_507_200_000_000)
}

pub(crate) fn frame(session: SessionId, seq: u64, detections: Vec<Detection>) -> FrameRecord {
    let at = start_time() + std::time::Duration::from_secs_f64(seq as f64 / FPS);
    FrameRecord {
        schema: FrameRecord::SCHEMA.into(),
        camera: "front".parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session,
        seq,
        pts_ns: Some((seq as f64 / FPS * 1e9) as u64),
        captured_at: at,
        clock: Clock::Arrival,
        published_at: at,
        age_ms: 0,
        timing_us: TimingUs::default(),
        source: SOURCE,
        model: ModelInfo { arch: "x".into(), weights: "random:0".into(), precision: "fp32".into() },
        classifier: None,
        dropped_before: BTreeMap::new(),
        detections,
        classes: Vec::new(),
    }
}

pub(crate) fn calibrated() -> ForwardSettings {
    let lens = Lens::FocalPx(FOCAL);
    let calibration = Calibration { height_m: HEIGHT_M, pitch_deg: 0.0, yaw_deg: 0.0, lens, corridor_m: 2.4 };
    ForwardSettings { path: PathSettings::Calibrated(calibration), ..ForwardSettings::default() }
}

pub(crate) fn drawn() -> ForwardSettings {
    ForwardSettings { path: PathSettings::Drawn(CorridorSettings::default()), ..ForwardSettings::default() }
}

pub(crate) fn vehicle(settings: ForwardSettings) -> EgoCamera {
    EgoCamera::new("front".parse().unwrap(), settings, LIMITS)
}

impl Scene {
    pub(crate) fn new(seed: u64, others: Vec<Other>) -> Self {
        Self { others, seconds: 8.0, seed }
    }

    /// Returns the frame records of the detector.
    pub(crate) fn frames(&self) -> Vec<FrameRecord> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let session = SessionId::generate();
        let frames = (self.seconds * FPS) as u64;
        (0..frames).map(|seq| frame(session, seq, self.detections(seq as f64 / FPS, &mut random))).collect()
    }

    fn detections(&self, at_s: f64, random: &mut StdRng) -> Vec<Detection> {
        let mut detections = Vec::new();
        for other in &self.others {
            let Some(exact) = other.after(at_s).bbox() else { continue };
            let seen = exact.map(|side| (side + 2.0 * normal(random)) as f32);
            let score = random.random_range(0.65..0.98);
            let missed = random.random_bool(MISSED);
            let Some(bbox) = BBox::from(seen).clipped(SOURCE).filter(|_| !missed) else { continue };
            if bbox.y2 - bbox.y1 < 12.0 || bbox.x2 - bbox.x1 < 6.0 {
                continue;
            }
            let class_id = other.label.len() as u32;
            detections.push(Detection {
                class_id,
                label: other.label.into(),
                score,
                bbox,
                classes: Vec::new(),
            });
        }
        detections
    }

    /// Returns the vehicle's results, with each record 80 ms old.
    pub(crate) fn watched(&self, settings: ForwardSettings) -> Vec<Moment> {
        let mut vehicle = vehicle(settings);
        let process = |(i, frame): (usize, FrameRecord)| {
            let now = frame.captured_at + std::time::Duration::from_millis(80);
            let assessment = vehicle.process(frame, now);
            Moment { at_s: i as f64 / FPS, assessment, seen: vehicle.seen().collect() }
        };
        self.frames().into_iter().enumerate().map(process).collect()
    }

    /// Returns the raised alerts with their times.
    pub(crate) fn raised(&self, settings: ForwardSettings) -> Vec<(f64, AlertRecord)> {
        let moments = self.watched(settings).into_iter();
        let alerts = moments
            .flat_map(|moment| moment.assessment.alerts.into_iter().map(move |alert| (moment.at_s, alert)));
        alerts.filter(|(_, alert)| alert.state == AlertState::Raised).collect()
    }
}
