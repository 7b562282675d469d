//! When the frames of cameras over RTSP were captured, whatever their clocks, timestamps and packets do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use lookout_schema::{Clock, DropCause, SessionId};
use lookout_stage::FrameHeader;
use lookout_tests::{
    isolation::lock_module,
    scripted_camera::ScriptedCamera,
    source::{RunningSource, Take, camera, deliver},
};

/// Only so that a test that cannot succeed ends.
const PATIENCE: Duration = Duration::from_secs(600);

fn watch(server: &ScriptedCamera) -> RunningSource {
    let slow = "connect_timeout_ms = 120000\nstall_timeout_ms = 120000\nqueue = 1000";
    let settings = camera(&format!("uri = {:?}\n{slow}", server.uri(""))).unwrap();
    RunningSource::start(settings, Take::default()).unwrap()
}

/// What is known of the camera's next `frames` frames.
fn headers(source: &RunningSource, frames: usize) -> Vec<FrameHeader> {
    (0..frames)
        .map(|_| {
            let frame = source.frame(PATIENCE).unwrap();
            let header = frame.header.clone();
            deliver(frame);
            header
        })
        .collect()
}

#[test]
fn each_session_has_one_clock_and_its_times_never_decrease() {
    let _module = lock_module(module_path!());
    use Clock::{Arrival, Rtcp};
    // What the camera does, by which clock its frames are dated, and into how many sessions a jump divides them.
    let cameras = [
        ("", Rtcp, 1),
        ("--clock behind", Rtcp, 1),
        ("--clock none", Arrival, 1),
        ("--clock 1970", Arrival, 1),
        ("--clock zero", Arrival, 1),
        ("--clock future", Arrival, 1),
        ("--clock small-jump", Rtcp, 2),
        // Reports that contradict each other, or the timestamps, are believed no more after a while.
        ("--clock wander", Rtcp, 2),
        ("--timestamps constant", Rtcp, 2),
        ("--timestamps jump", Rtcp, 1),
        ("--timestamps restart", Rtcp, 1),
        ("--ssrc-change 1 --clock behind", Rtcp, 1),
        ("--ssrc-change 1 --new-timestamps", Rtcp, 1),
        ("--lose 0.02", Rtcp, 1),
        ("--reorder 5", Rtcp, 1),
        ("--duplicate 3", Rtcp, 1),
        ("--gap 2:2", Rtcp, 1),
        ("--foreign-packets 3", Rtcp, 1),
    ];
    let watched = cameras.map(|(options, clock, sessions)| {
        let server = ScriptedCamera::start(options).unwrap();
        let source = watch(&server);
        (options, clock, sessions, server, source)
    });
    for (options, clock, sessions, server, source) in watched {
        // Two seconds and more after the moment at which a clock jumps.
        let headers = headers(&source, 150);
        source.stop().unwrap();
        assert_eq!(server.count("connection").unwrap(), 1, "{options}");
        let mut by_session: BTreeMap<SessionId, Vec<&FrameHeader>> = BTreeMap::new();
        headers.iter().for_each(|header| by_session.entry(header.session).or_default().push(header));
        // Frames that come before the first sender report is known may be a session of their own.
        let dated =
            by_session.values().filter(|frames| frames.iter().any(|frame| frame.clock == clock)).count();
        assert!(dated <= sessions, "{options}: {dated} sessions");
        assert_eq!(headers[40].clock, clock, "{options}");
        for frames in by_session.values() {
            // A session may learn the camera's clock where that moves no time.
            let clocks: Vec<_> = frames.iter().map(|frame| frame.clock).collect();
            let goes_on = |before: &Clock, after: &Clock| before == after || *before == Arrival;
            assert!(clocks.is_sorted_by(goes_on), "{options}: {clocks:?}");
            let times: Vec<_> = frames.iter().map(|frame| frame.captured_at).collect();
            assert!(times.is_sorted(), "{options}: {times:?}");
        }
    }
}

#[test]
fn frames_are_withheld_until_a_key_frame_whether_the_stream_begins_with_one_or_not() {
    let _module = lock_module(module_path!());
    // The camera's key frames are 25 frames apart.
    for start_at in [0, 10, 24] {
        let server = ScriptedCamera::start(&format!("--start-at {start_at}")).unwrap();
        let source = watch(&server);
        let first = headers(&source, 1).remove(0);
        let (_, _, counts) = source.stop().unwrap();
        let withheld = (25 - start_at) % 25;
        assert_eq!(counts.dropped.get(&DropCause::NoKeyFrame).copied().unwrap_or(0), withheld, "{counts:?}");
        assert_eq!(first.seq, withheld, "from frame {start_at} on: {counts:?}");
    }
}
