//! Tracking metrics compared with py-motmetrics and TrackEval. `goldens/make_tracking.py` generates the goldens.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lookout_measure::{Tracked, TrackingEvaluation};
use serde_json::Value;

fn rows(rows: &Value) -> Vec<Tracked> {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let row = |row: &Value| Tracked {
        id: row[0].as_u64().unwrap(),
        bbox: [1, 2, 3, 4].map(|corner| number(&row[corner])).into(),
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn tracking_metrics_match_motmetrics_and_trackeval() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("goldens/tracking.json")).unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let mut evaluation = TrackingEvaluation::default();
        for frame in case["frames"].as_array().unwrap() {
            evaluation.frame(&rows(&frame["truth"]), &rows(&frame["tracks"]));
        }
        let summary = evaluation.summary();
        let expected = |name: &str| case["expected"][name].as_f64().unwrap();
        let counts = [
            (summary.frames, "num_frames"),
            (summary.objects, "num_objects"),
            (summary.tracks, "num_predictions"),
            (summary.misses, "num_misses"),
            (summary.false_positives, "num_false_positives"),
            (summary.switches, "num_switches"),
            (summary.fragmentations, "num_fragmentations"),
        ];
        for (count, name) in counts {
            assert_eq!(count as f64, expected(name), "{name} of {summary}");
        }
        // The distance in py-motmetrics is 1 minus the IoU.
        let parts = [
            (summary.mota, "mota"),
            (summary.iou.map(|iou| 1.0 - iou), "motp"),
            (summary.idf1, "idf1"),
            (summary.hota, "hota"),
            (summary.det_a, "det_a"),
            (summary.ass_a, "ass_a"),
        ];
        for (part, name) in parts {
            assert!((part.unwrap() - expected(name)).abs() < 1e-6, "{name} of {summary}: {}", expected(name));
        }
    }
}

#[test]
fn empty_evaluation_has_no_metrics() {
    let mut evaluation = TrackingEvaluation::default();
    evaluation.frame(&[], &[]);
    let summary = evaluation.summary();
    assert_eq!((summary.mota, summary.idf1, summary.iou), (None, None, None));
    evaluation.frame(&[], &[Tracked { id: 1, bbox: [0.0, 0.0, 1.0, 1.0].into() }]);
    assert_eq!((evaluation.summary().mota, evaluation.summary().idf1), (None, Some(0.0)));
}
