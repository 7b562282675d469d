//! `lookout eval --end-to-end`: simulated cameras through H.264, RTSP, a worker and Kafka.

use std::fs;

use lookout_tests::{isolation::lock_module, program::run};
use serde_json::Value;

#[test]
fn frames_are_found_again_behind_kafka_and_all_are_accounted_for() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    // What the network says means nothing; which frame it says it of does.
    let network =
        ["--arch", "fcos_resnet50_fpn", "--weights", "random:7", "--input", "160x96", "--threads", "1"];
    let farm = ["--cameras", "2", "--fps", "4", "--seconds", "12", "--frames", "15"];
    let end_to_end = ["eval", "--end-to-end", "--json", "--output", report.to_str().unwrap()];
    let output = run(&[&end_to_end[..], &network, &farm].concat()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = |name: &str| measured["frames"][name].as_u64().unwrap();
    let dropped: u64 = measured["frames"]["dropped"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(frames("received"), frames("published") + dropped, "{measured}");
    assert_eq!(frames("published"), frames("delivered"), "{measured}");
    assert_eq!(frames("seen") + frames("undated"), frames("delivered"), "{measured}");
    // However slow the machine is, as many frames of each camera as were asked for.
    assert!(frames("seen") > 20, "{measured}");
    assert!(frames("shown") >= frames("seen") && frames("shown") - frames("seen") <= dropped, "{measured}");
    assert!(measured["tracks"]["objects"].as_u64().unwrap() > 20, "{measured}");
    for name in ["report.md", "precision.png", "ages.png", "metrics.json"] {
        assert!(report.join(name).is_file(), "{name}");
    }
    assert!(fs::read_to_string(report.join("report.md")).unwrap().contains("the worker's ledger"));
}
