//! Health, metrics and shutdown of `lookout run`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use lookout_tests::{isolation::lock_module, program::Running, video::clip};

const PATIENCE: Duration = Duration::from_secs(600);

fn looped(more: &str) -> Running {
    Running::start(&format!("{more}\n[[camera]]\nid = \"clip\"\nuri = {:?}\nloop = true", clip())).unwrap()
}

fn ready(running: &mut Running) -> String {
    let flows = |running: &Running| running.page("/readyz").filter(|(code, _)| *code == 200);
    running.until("frames flow", PATIENCE, flows).unwrap().1
}

/// Returns the metrics in the table of docs/operating.md, without the one that a worker has only after a
/// fault. A counter's type line lacks the `_total` of its samples.
fn documented_metrics() -> Vec<&'static str> {
    let rows =
        include_str!("../../../docs/operating.md").lines().filter(|line| line.starts_with("| `lookout_"));
    let names = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`'));
    let names = names.filter(|text| text.starts_with("lookout_"));
    let names: Vec<_> = names.filter(|name| *name != "lookout_kafka_refused_total").collect();
    assert!(names.len() >= 16, "{names:?}");
    names.into_iter().map(|name| name.trim_end_matches("_total")).collect()
}

#[test]
fn serves_health_and_metrics_and_drains_at_a_signal() {
    let _module = lock_module(module_path!());
    for signal in ["INT", "TERM"] {
        let mut running = looped("");
        assert_eq!(
            ready(&mut running),
            "{\"ready\":true,\"reasons\":[],\"flowing\":1,\"silent\":[],\"warnings\":[]}\n"
        );
        assert_eq!(running.page("/healthz").unwrap(), (200, "ok\n".into()));
        assert_eq!(running.page("/nothing").unwrap().0, 404);
        let (code, metrics) = running.page("/metrics").unwrap();
        assert_eq!(code, 200);
        for name in documented_metrics() {
            assert!(metrics.contains(&format!("# TYPE {name} ")), "{name}: {metrics}");
        }
        assert!(metrics.contains("lookout_frames_received_total{camera=\"clip\"}"), "{metrics}");
        running.signal(signal).unwrap();
        let ended = running.finish(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended.summary.check().unwrap();
        let clip = &ended.summary.cameras["clip"];
        assert_eq!((clip.published, clip.processing), (clip.delivered, 0), "{clip:?}");
        assert!(clip.delivered > 0 && clip.status == "stopped", "{clip:?}");
    }
}

#[test]
fn a_second_signal_ends_the_drain() {
    let _module = lock_module(module_path!());
    let mut running = looped("drain_s = 3600\n[kafka]\nbrokers = \"127.0.0.1:1\"");
    let held_up = |running: &Running| {
        let (_, metrics) = running.page("/metrics")?;
        metrics.contains("lookout_frames_spooled{camera=\"clip\"} 256").then_some(())
    };
    running.until("the file waits for the broker", PATIENCE, held_up).unwrap();
    running.signal("INT").unwrap();
    let draining = |running: &Running| running.log().contains("stopping: draining").then_some(());
    running.until("it drains", PATIENCE, draining).unwrap();
    running.signal("INT").unwrap();
    let started = Instant::now();
    let ended = running.finish(PATIENCE).unwrap();
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
    ended.summary.check().unwrap();
    let clip = &ended.summary.cameras["clip"];
    assert_eq!((clip.delivered, clip.expired["shutdown"]), (0, 256), "{clip:?}");
    // The exit code is 1 because frames of a file were lost.
    assert_eq!(ended.code, Some(1), "{}", ended.log);
}
