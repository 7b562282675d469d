//! A file of `lookout bench` as it was written for the first time. The golden file never changes, so that old profiles
//! stay readable.

use lookout_measure::{BatchLatencyMs, BenchProfile, Measurement};
use lookout_schema::Size;
use serde_json::{Value, json};

#[test]
fn reads_and_writes_a_bench_profile_of_version_1() {
    let profile = BenchProfile {
        schema: BenchProfile::SCHEMA.into(),
        measured_at: "2026-11-24T08:00:00.123456Z".parse().unwrap(),
        cores: 16,
        results: vec![Measurement {
            arch: "resnet50".into(),
            device: "cuda:0".into(),
            precision: "bf16".into(),
            input: Size { width: 224, height: 224 },
            batch: 8,
            streams: 1,
            cameras: None,
            images_per_s: 1234.5,
            latency_ms: BatchLatencyMs { p50: 6.25, p95: 7.5, p99: 8.125 },
            forward_ms: 6.0,
            post_ms: 0.25,
        }],
    };
    let mut golden: Value = serde_json::from_str(include_str!("goldens/profile.1.json")).unwrap();
    assert_eq!(serde_json::to_value(&profile).unwrap(), golden);
    // A later minor version may add a field.
    golden["new_in_a_later_version"] = json!([1, 2]);
    assert_eq!(serde_json::from_value::<BenchProfile>(golden).unwrap(), profile);
}
