//! Capture times of frames over RTSP, with faulty clocks, timestamps and packets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use lookout_schema::{Clock, DropCause, SessionId};
use lookout_stage::FrameHeader;
use lookout_tests::{
    isolation::lock_module,
    scripted_camera::ScriptedCamera,
    source::{RunningSource, Take, camera, deliver},
};

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);

fn watch(server: &ScriptedCamera) -> RunningSource {
    let slow = "connect_timeout_ms = 120000\nstall_timeout_ms = 120000\nqueue = 1000";
    let settings = camera(&format!("uri = {:?}\n{slow}", server.uri(""))).unwrap();
    RunningSource::start(settings, Take::default()).unwrap()
}

/// Returns the headers of the camera's next `frames` frames.
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
fn each_session_has_one_clock_and_nondecreasing_times() {
    let _module = lock_module(module_path!());
    use Clock::{Arrival, Rtcp};
    // Options of the camera, the clock of its frames, and the highest number of sessions with that clock.
    let cameras = [
        ("", Rtcp, 1),
        ("--clock behind", Rtcp, 1),
        ("--clock none", Arrival, 1),
        ("--clock 1970", Arrival, 1),
        ("--clock zero", Arrival, 1),
        ("--clock future", Arrival, 1),
        ("--clock small-jump", Rtcp, 2),
        // Sender reports that contradict each other, or the RTP timestamps, are ignored after a while.
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
        // At least two seconds after the moment at which a clock jumps.
        let headers = headers(&source, 150);
        source.stop().unwrap();
        assert_eq!(server.count("connection").unwrap(), 1, "{options}");
        let mut by_session: BTreeMap<SessionId, Vec<&FrameHeader>> = BTreeMap::new();
        headers.iter().for_each(|header| by_session.entry(header.session).or_default().push(header));
        // Frames before the first sender report may form a session of their own.
        let dated =
            by_session.values().filter(|frames| frames.iter().any(|frame| frame.clock == clock)).count();
        assert!(dated <= sessions, "{options}: {dated} sessions");
        assert_eq!(headers[40].clock, clock, "{options}");
        for frames in by_session.values() {
            // A session may change to the camera's clock if its times stay the same.
            let clocks: Vec<_> = frames.iter().map(|frame| frame.clock).collect();
            let may_follow = |before: &Clock, after: &Clock| before == after || *before == Arrival;
            assert!(clocks.is_sorted_by(may_follow), "{options}: {clocks:?}");
            let times: Vec<_> = frames.iter().map(|frame| frame.captured_at).collect();
            assert!(times.is_sorted(), "{options}: {times:?}");
        }
    }
}

#[test]
fn frames_before_the_first_key_frame_are_withheld() {
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
