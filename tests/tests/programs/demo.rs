//! The demo's detector end to end, on scenes that are not in its training set.

use lookout_tests::{isolation::lock_module, program::run};
use serde_json::Value;

/// The model card states 0.86; this sample of frames is smaller.
const AP50: f64 = 0.80;
/// The permitted loss through H.264, RTSP and Kafka.
const COST: f64 = 0.03;

#[test]
fn demo_detector_reaches_its_accuracy_end_to_end() {
    let _module = lock_module(module_path!());
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/sim-detector");
    let (weights, labels) = (format!("{model}.safetensors"), format!("{model}.txt"));
    let network = ["--arch", "fcos_resnet50_fpn", "--weights", &weights, "--labels", &labels];
    let farm = ["--input", "640x384", "--cameras", "2", "--fps", "1", "--seconds", "24", "--frames", "36"];
    let output = run(&[&["eval", "--end-to-end", "--json"][..], &network, &farm].concat()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (at_work, raw) = (&measured["objects"]["coco"]["ap50"], &measured["raw"]["ap50"]);
    let (at_work, raw) = (at_work.as_f64().unwrap(), raw.as_f64().unwrap());
    println!("AP50 {at_work:.3} behind Kafka and {raw:.3} on the raw frames");
    assert!(at_work >= AP50, "{measured}");
    assert!(raw - at_work <= COST, "{measured}");
}
