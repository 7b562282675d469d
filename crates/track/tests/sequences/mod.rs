//! The tracker on sequences with ground truth, evaluated by motmetrics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the test prints measurements")]

mod road;
mod worlds;

use std::{collections::BTreeMap, fs, ops::Range, path::PathBuf, process::Command};

use lookout_schema::{BBox, Size};
use lookout_track::{Tracker, TrackerSettings};
use worlds::{
    FPS, SeenFrame, World, bouncing, cut, half_out, meeting, passing, slow, swarming, twins, walled,
    wandering,
};

const SOURCE: Size = Size { width: 1280, height: 720 };
/// Seeds that were not used in the development of the tracker.
const SEEDS: Range<u64> = 1000..1004;

/// The documented minimum is 0.9; all kinds of sequences reach this value with some margin.
const REQUIRED: f64 = 0.93;

/// Whether the ground truth includes occluded objects; both conventions are in use.
#[derive(Clone, Copy)]
enum Truth {
    WithHidden,
    WithoutHidden,
}

/// Runs the tracker on every `every`th frame and writes ground truth and tracks for motmetrics.
fn tracked(name: &str, source: Size, frames: &[SeenFrame], every: usize) -> [PathBuf; 2] {
    let mut tracker = Tracker::new(TrackerSettings::default());
    let rows = |rows: Vec<(u64, BBox)>| -> String {
        let row = |(id, b): &(u64, BBox)| format!("[{id},{},{},{},{}]", b.x1, b.y1, b.x2, b.y2);
        rows.iter().map(row).collect::<Vec<_>>().join(",")
    };
    let truth_rows = |truth: &[(usize, BBox)]| rows(truth.iter().map(|(id, b)| (*id as u64, *b)).collect());
    let mut lines = [Vec::new(), Vec::new()];
    for (i, frame) in frames.iter().enumerate().filter(|(i, _)| i % every == 0) {
        let step = tracker.step(i as f64 / FPS, source, &frame.detections);
        let tracks = rows(step.tracks.iter().map(|track| (track.id.0, track.bbox)).collect());
        for (truth, lines) in [&frame.all, &frame.visible].into_iter().zip(&mut lines) {
            lines.push(format!("{{\"truth\":[{}],\"tracks\":[{tracks}]}}", truth_rows(truth)));
        }
    }
    [Truth::WithHidden, Truth::WithoutHidden].map(|truth| {
        let kind = if matches!(truth, Truth::WithHidden) { "with" } else { "without" };
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{kind}.json"));
        let lines = &lines[truth as usize];
        fs::write(&path, format!("[{}]", lines.join(",\n"))).unwrap();
        path
    })
}

/// Returns the metrics over all sequences.
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

/// Checks the IDF1 of all sequences of a kind, with both kinds of ground truth.
fn ids_are_kept(name: &str, source: Size, sequence: impl Fn(u64) -> Vec<SeenFrame>) {
    let paths: Vec<[PathBuf; 2]> =
        SEEDS.map(|seed| tracked(&format!("{name}-{seed}"), source, &sequence(seed), 1)).collect();
    for truth in [Truth::WithHidden, Truth::WithoutHidden] {
        let paths: Vec<PathBuf> = paths.iter().map(|kinds| kinds[truth as usize].clone()).collect();
        let measures = judged(&paths);
        assert!(measures["idf1"] >= REQUIRED, "{measures:?}");
    }
}

fn ids_are_kept_in(name: &str, world: &World) {
    ids_are_kept(name, world.source(), |seed| world.sequence(seed));
}

#[test]
fn keeps_ids_on_a_crowded_road() {
    ids_are_kept("road", SOURCE, road::sequence);
}

#[test]
fn keeps_ids_of_freely_moving_objects_with_random_occlusions() {
    ids_are_kept_in("bouncing", &bouncing());
    ids_are_kept_in("slow", &slow());
}

#[test]
fn keeps_ids_when_objects_enter_and_leave() {
    ids_are_kept_in("passing", &passing());
}

#[test]
fn keeps_ids_of_boxes_truncated_by_the_border() {
    ids_are_kept_in("cut", &cut());
    ids_are_kept_in("half_out", &half_out());
}

#[test]
fn keeps_ids_of_objects_that_bounce_off_invisible_walls() {
    ids_are_kept_in("walled", &walled());
}

#[test]
fn keeps_ids_with_varying_speeds_and_mutual_occlusions() {
    ids_are_kept_in("wandering", &wandering());
}

#[test]
fn keeps_ids_when_all_objects_meet() {
    ids_are_kept_in("meeting", &meeting());
}

/// Small objects that turn constantly do not reappear where they were heading.
#[test]
fn keeps_ids_in_a_swarm() {
    ids_are_kept_in("swarming", &swarming());
}

/// Objects differ only in their path, and the path bends at the border while they are hidden.
#[test]
fn keeps_ids_of_objects_of_equal_appearance() {
    ids_are_kept_in("twins", &twins());
}

#[test]
fn keeps_ids_when_every_second_frame_is_dropped() {
    let paths = (0..2).map(|seed| tracked(&format!("half-{seed}"), SOURCE, &road::sequence(seed), 2));
    let paths: Vec<PathBuf> = paths.map(|[_, without]| without).collect();
    let measures = judged(&paths);
    assert!(measures["idf1"] >= REQUIRED, "{measures:?}");
}
