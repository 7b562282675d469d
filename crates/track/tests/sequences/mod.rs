//! Lookout's tracker and the baselines on simulated sequences with ground truth. `lookout eval --mot` runs them on real
//! ones.

#![expect(clippy::print_stdout, reason = "the test prints measurements")]

mod road;
mod worlds;

use lookout_measure::{Tracked, TrackingEvaluation, TrackingSummary};
use lookout_schema::{BBox, Size, TrackerAlgorithm};
use lookout_track::{Frame, TrackerSettings, tracker};
use worlds::{FPS, SeenFrame, cut, passing, wandering};

const SOURCE: Size = Size { width: 1280, height: 720 };
const SEEDS: u64 = 3;

/// Evaluates a tracker on every `every`th frame against the objects that are not occluded.
fn evaluated(
    settings: TrackerSettings,
    source: Size,
    every: usize,
    sequence: &dyn Fn(u64) -> Vec<SeenFrame>,
) -> TrackingSummary {
    let mut evaluation = TrackingEvaluation::default();
    for seed in 0..SEEDS {
        let mut tracker = tracker(settings, 0);
        let id = |id: u64| 1_000_000 * seed + id;
        for (i, frame) in sequence(seed).iter().enumerate().step_by(every) {
            let (at_s, observations) = (i as f64 / FPS, &frame.detections[..]);
            let output = tracker.update(&Frame { at_s, source, observations });
            let truth = |(thing, bbox): &(usize, BBox)| Tracked { id: id(*thing as u64), bbox: *bbox };
            let truth: Vec<Tracked> = frame.visible.iter().map(truth).collect();
            let found = output.tracks.iter().map(|track| Tracked { id: id(track.id.0), bbox: track.bbox });
            evaluation.frame(&truth, &found.collect::<Vec<_>>());
        }
    }
    evaluation.summary()
}

/// Checks the IDF1 of Lookout's tracker at 10, 5 and 2 frames/s, and that SORT and OC-SORT do not have a higher one.
fn keeps_ids(name: &str, source: Size, idf1: [f64; 3], sequence: &dyn Fn(u64) -> Vec<SeenFrame>) {
    for (every, idf1) in [1, 2, 5].into_iter().zip(idf1) {
        let score = |algorithm: TrackerAlgorithm| {
            let settings = TrackerSettings { algorithm, ..TrackerSettings::default() };
            let summary = evaluated(settings, source, every, sequence);
            println!("{name} every {every}, {}: {summary}", algorithm.as_str());
            summary.idf1.unwrap_or_default()
        };
        let lookout = score(TrackerAlgorithm::Lookout);
        assert!(lookout >= idf1, "{name} every {every}: {lookout}");
        assert!(
            [TrackerAlgorithm::Sort, TrackerAlgorithm::OcSort]
                .into_iter()
                .all(|other| score(other) < lookout)
        );
    }
}

#[test]
fn keeps_ids_on_a_crowded_road() {
    keeps_ids("road", SOURCE, [0.78, 0.75, 0.45], &road::sequence);
}

#[test]
fn keeps_ids_when_objects_enter_and_leave() {
    keeps_ids("passing", SOURCE, [0.83, 0.75, 0.45], &|seed| passing().sequence(seed));
    keeps_ids("cut", SOURCE, [0.83, 0.75, 0.45], &|seed| cut().sequence(seed));
}

#[test]
fn keeps_ids_with_varying_speeds_and_mutual_occlusions() {
    let source = wandering().source();
    keeps_ids("wandering", source, [0.6, 0.5, 0.2], &|seed| wandering().sequence(seed));
}

/// Predicted boxes are output only on request, and are marked by `seen`.
#[test]
fn outputs_predicted_boxes_on_request() {
    let frames = passing().sequence(0);
    for predict_s in [0.0, 0.3] {
        let mut tracker = tracker(TrackerSettings { predict_s, ..TrackerSettings::default() }, 0);
        let mut predicted = 0;
        for (i, frame) in frames.iter().enumerate() {
            let (at_s, observations) = (i as f64 / FPS, &frame.detections[..]);
            let output = tracker.update(&Frame { at_s, source: SOURCE, observations });
            for track in output.tracks.iter().filter(|track| track.seen.is_none()) {
                assert!(at_s - track.last_s <= predict_s && track.last_s < at_s, "{track:?}");
                predicted += 1;
            }
        }
        assert_eq!(predicted > 0, predict_s > 0.0);
    }
}
