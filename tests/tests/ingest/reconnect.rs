//! A camera that reconnects many times, in a process of its own so that leaks can be measured.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::TcpListener, thread, time::Duration};

use lookout_schema::{CameraStatus, RetryReason};
use lookout_stage::SourceEnd;
use lookout_tests::{
    isolation::{lock_module, own_process},
    rtsp::{RtspServer, RtspSettings},
    source::{RunningSource, Take, camera},
};

const PATIENCE: Duration = Duration::from_secs(600);

/// Returns the number of threads and the resident memory in KiB of this process.
fn usage() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    (field("Threads:"), field("VmRSS:"))
}

/// Returns threads and memory after a few reconnects and after `most` more, each for `reason`.
fn before_and_after(uri: &str, most: u32, reason: RetryReason) -> [(u64, u64); 2] {
    let lines = format!("uri = \"{uri}\"\nretry_first_ms = 10\nretry_max_ms = 10\nstall_timeout_ms = 1000");
    let source = RunningSource::start(camera(&lines).unwrap(), Take::default()).unwrap();
    let usage = [30, most].map(|reconnects| {
        for _ in 0..reconnects {
            let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
            // On a busy machine, the server sometimes closes the connection before it has sent its end of
            // stream.
            let silent = reason == RetryReason::EndOfStream && report.retry == Some(RetryReason::Stalled);
            assert!(report.retry == Some(reason) || silent, "{report:?}");
        }
        usage()
    });
    assert_eq!(source.stop().unwrap().0, SourceEnd::Stopped);
    usage
}

// One test, so that nothing else runs in this process during the measurement.
#[test]
fn reconnects_leak_neither_threads_nor_memory() {
    let _module = lock_module(module_path!());
    if !own_process(module_path!(), "reconnects_leak_neither_threads_nor_memory").unwrap() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Accepts each connection and closes it; ends with the process.
    thread::spawn(move || listener.incoming().for_each(drop));
    let refused = before_and_after(&format!("rtsp://127.0.0.1:{port}/cam"), 1000, RetryReason::Unreachable);
    // Each of these connections decodes a few frames before it ends.
    let brief = RtspSettings { fps: 100, frames: 3, ..RtspSettings::default() };
    let server = RtspServer::start(brief).unwrap();
    let ended = before_and_after(&server.uri(), 100, RetryReason::EndOfStream);
    for [(threads, memory), (threads_after, memory_after)] in [refused, ended] {
        assert!(threads_after <= threads + 8, "threads grew from {threads} to {threads_after}");
        assert!(memory_after <= memory + 8_000, "memory grew from {memory} to {memory_after} KiB");
    }
}
