//! The tracker on sequences whose truth is known, judged by motmetrics.
//!
//! Twenty objects at a time walk across one another on a picture of 1280x720 at 10 frames/s; where one leaves
//! it, another comes in. The nearer one hides the one
//! behind it, pillars hide all for up to a second; the detector misses 10 % of what is there, is off by 2 pixels
//! at each side, sees half-hidden objects unsurely, and now and then something that is not there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are what the test is read for")]

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use lookout_schema::{BBox, Size};
use lookout_track::{Observation, Tracker, TrackerSettings};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const WIDTH: f32 = 1280.0;
const HEIGHT: f32 = 720.0;
const SOURCE: Size = Size { width: 1280, height: 720 };
const OBJECTS: usize = 20;
const FPS: f64 = 10.0;
const FRAMES: usize = 600;
const PILLARS: [[f32; 2]; 2] = [[380.0, 440.0], [840.0, 900.0]];

struct Walker {
    id: usize,
    hidden_frames: usize,
    /// Of the foot.
    at: [f32; 2],
    velocity: [f32; 2],
}

impl Walker {
    /// One that is somewhere in the picture, or comes in at its left or right border.
    fn new(random: &mut StdRng, id: usize, enters: bool) -> Self {
        let right = random.random_bool(0.5);
        let border = if right { 0.0 } else { WIDTH };
        let x = if enters { border } else { random.random_range(60.0..WIDTH - 60.0) };
        let speed = random.random_range(40.0..140.0) * if right { 1.0 } else { -1.0 };
        let velocity = [speed, random.random_range(-12.0..12.0)];
        Self { id, hidden_frames: 0, at: [x, random.random_range(300.0..HEIGHT)], velocity }
    }

    fn walk(&mut self, random: &mut StdRng, dt: f32) {
        for axis in [0, 1] {
            self.velocity[axis] += random.random_range(-1.0..1.0) * 60.0 * dt;
            self.at[axis] += self.velocity[axis] * dt;
        }
        // They keep to the road, along which they go.
        let off = (330.0 - self.at[1]).max(0.0) - (self.at[1] - HEIGHT + 30.0).max(0.0);
        self.velocity[1] += (4.0 * off - 0.5 * self.velocity[1]) * dt;
    }

    fn has_left(&self) -> bool {
        !(0.0..=WIDTH).contains(&self.at[0])
    }

    /// The nearer, the larger.
    fn bbox(&self) -> BBox {
        let height = 60.0 + (self.at[1] - 300.0) * 0.25;
        let width = height * 0.45;
        BBox::from([self.at[0] - width / 2.0, self.at[1] - height, self.at[0] + width / 2.0, self.at[1]])
    }
}

fn covered(of: BBox, by: BBox) -> f32 {
    let width = (of.x2.min(by.x2) - of.x1.max(by.x1)).max(0.0);
    let height = (of.y2.min(by.y2) - of.y1.max(by.y1)).max(0.0);
    width * height / ((of.x2 - of.x1) * (of.y2 - of.y1))
}

struct SeenFrame {
    /// What a person could see, by object.
    truth: Vec<(usize, BBox)>,
    detections: Vec<Observation>,
}

fn sequence(seed: u64, missed: f64) -> Vec<SeenFrame> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut walkers: Vec<Walker> = (0..OBJECTS).map(|id| Walker::new(&mut random, id, false)).collect();
    let mut ids = OBJECTS..;
    let mut frames = Vec::new();
    for _ in 0..FRAMES {
        for walker in &mut walkers {
            walker.walk(&mut random, 1.0 / FPS as f32);
            if walker.has_left() {
                *walker = Walker::new(&mut random, ids.next().unwrap(), true);
            }
        }
        let boxes: Vec<BBox> = walkers.iter().map(Walker::bbox).collect();
        let feet: Vec<f32> = walkers.iter().map(|walker| walker.at[1]).collect();
        let hidden = |i: usize| {
            let nearer = (0..OBJECTS).filter(|j| feet[*j] > feet[i]);
            let by_others = nearer.map(|j| covered(boxes[i], boxes[j])).fold(0.0, f32::max);
            let pillars = PILLARS.map(|[x1, x2]| covered(boxes[i], BBox::from([x1, 0.0, x2, HEIGHT])));
            pillars.into_iter().fold(by_others, f32::max)
        };
        let mut frame = SeenFrame { truth: Vec::new(), detections: Vec::new() };
        for (i, bbox) in boxes.iter().enumerate() {
            let hidden = hidden(i);
            // Hidden for a second at most; then it looks out from behind.
            if hidden > 0.7 && walkers[i].hidden_frames < FPS as usize {
                walkers[i].hidden_frames += 1;
                continue;
            }
            if hidden < 0.4 {
                walkers[i].hidden_frames = 0;
            }
            frame.truth.push((walkers[i].id, *bbox));
            if random.random_bool(missed) {
                continue;
            }
            let mut jitter = || {
                // Normal, of 2 pixels: the sum of twelve even numbers.
                let sum: f32 = (0..12).map(|_| random.random_range(0.0..1.0)).sum();
                2.0 * (sum - 6.0)
            };
            let bbox = BBox::from(<[f32; 4]>::from(*bbox).map(|side| side + jitter()));
            let score =
                if hidden > 0.4 { random.random_range(0.15..0.5) } else { random.random_range(0.55..0.98) };
            frame.detections.push(Observation { bbox, class_id: 1, score });
        }
        if random.random_bool(0.05) {
            let (x, y) = (random.random_range(0.0..WIDTH), random.random_range(0.0..HEIGHT));
            let bbox = BBox::from([x, y, x + 40.0, y + 90.0]);
            frame.detections.push(Observation { bbox, class_id: 1, score: random.random_range(0.5..0.7) });
        }
        frames.push(frame);
    }
    frames
}

/// Runs the tracker and writes truth and tracks for the judge; `every` leaves frames out, as a worker that is
/// behind does.
fn tracked(name: &str, seed: u64, every: usize) -> PathBuf {
    let mut tracker = Tracker::new(TrackerSettings::default());
    let rows = |rows: Vec<(u64, BBox)>| -> String {
        let row = |(id, b): &(u64, BBox)| format!("[{id},{},{},{},{}]", b.x1, b.y1, b.x2, b.y2);
        rows.iter().map(row).collect::<Vec<_>>().join(",")
    };
    let mut lines = Vec::new();
    for (i, frame) in sequence(seed, 0.1).into_iter().enumerate().filter(|(i, _)| i % every == 0) {
        let step = tracker.step(i as f64 / FPS, SOURCE, &frame.detections);
        let truth = rows(frame.truth.iter().map(|(id, bbox)| (*id as u64, *bbox)).collect());
        let tracks = rows(step.tracks.iter().map(|track| (track.id.0, track.bbox)).collect());
        lines.push(format!("{{\"truth\":[{truth}],\"tracks\":[{tracks}]}}"));
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
    fs::write(&path, format!("[{}]", lines.join(",\n"))).unwrap();
    path
}

/// The judge's measures over all sequences.
fn judged(sequences: &[PathBuf]) -> BTreeMap<String, f64> {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");
    let python = Command::new(format!("{scripts}/motmetrics.sh")).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let python = String::from_utf8(python.stdout).unwrap();
    let judge =
        Command::new(python.trim()).arg(format!("{scripts}/motmetrics/judge.py")).args(sequences).output();
    let judge = judge.unwrap();
    let text = String::from_utf8(judge.stdout).unwrap();
    println!("{text}");
    assert!(judge.status.success(), "{}", String::from_utf8_lossy(&judge.stderr));
    let (_, last) = text.trim().rsplit_once('\n').unwrap();
    let fields = last.trim_matches(['{', '}']).split(", ");
    fields
        .map(|field| field.split_once(": ").unwrap())
        .map(|(k, v)| (k.trim_matches('"').into(), v.parse().unwrap()))
        .collect()
}

#[test]
fn twenty_objects_that_cross_and_hide_keep_their_ids() {
    let sequences: Vec<PathBuf> = (0..4).map(|seed| tracked(&format!("walk-{seed}"), seed, 1)).collect();
    let measures = judged(&sequences);
    assert!(measures["idf1"] >= 0.85, "{measures:?}");
    assert!(measures["mota"] >= 0.85, "{measures:?}");
}

#[test]
fn frames_that_were_dropped_cost_little() {
    let sequences: Vec<PathBuf> = (0..2).map(|seed| tracked(&format!("half-{seed}"), seed, 2)).collect();
    let measures = judged(&sequences);
    assert!(measures["idf1"] >= 0.75, "{measures:?}");
}
