//! `lookout eval --end-to-end`: simulated cameras through H.264, RTSP, a worker and Kafka.

use std::fs;

use lookout_tests::{isolation::lock_module, program::run};
use serde_json::Value;

#[test]
fn end_to_end_eval_accounts_for_every_frame() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    // The detections are random; only the frames of the records matter.
    let network =
        ["--arch", "fcos_resnet50_fpn", "--weights", "random:7", "--input", "160x96", "--threads", "1"];
    let farm = ["--cameras", "2", "--fps", "4", "--seconds", "12", "--frames", "15"];
    let end_to_end = ["eval", "--end-to-end", "--json", "--output", report.to_str().unwrap()];
    let output = run(&[&end_to_end[..], &network, &farm].concat()).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
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
    // The number of frames per camera does not depend on the speed of the machine.
    assert!(frames("seen") > 20, "{measured}");
    assert!(frames("shown") >= frames("seen") && frames("shown") - frames("seen") <= dropped, "{measured}");
    assert!(measured["tracks"]["objects"].as_u64().unwrap() > 20, "{measured}");
    for name in ["report.md", "precision.png", "ages.png", "metrics.json"] {
        assert!(report.join(name).is_file(), "{name}");
    }
    assert!(fs::read_to_string(report.join("report.md")).unwrap().contains("the worker's ledger"));
}
