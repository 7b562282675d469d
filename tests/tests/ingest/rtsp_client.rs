//! The RTSP client against cameras that violate the protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    thread,
    time::Duration,
};

use lookout_config::CameraSettings;
use lookout_schema::{CameraStatus, Clock, RetryReason};
use lookout_stage::Frame;
use lookout_tests::{
    isolation::lock_module,
    scripted_camera::ScriptedCamera,
    source::{RunningSource, Take, camera, deliver},
    video::write_sound,
};
use tempfile::TempDir;

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(300);

fn settings(uri: &str, more: &str) -> CameraSettings {
    let slow = "connect_timeout_ms = 120000\nstall_timeout_ms = 120000";
    camera(&format!("uri = {uri:?}\n{slow}\n{more}")).unwrap()
}

fn watch(uri: &str, more: &str) -> RunningSource {
    RunningSource::start(settings(uri, more), Take::default()).unwrap()
}

fn pts(frame: &Frame) -> Duration {
    Duration::from_nanos(frame.header.pts_ns.unwrap())
}

/// Receives frames until the stream has advanced by `this_long` since the first one, in one session.
fn play_for(source: &RunningSource, this_long: Duration) -> Frame {
    let first = source.frame(PATIENCE).unwrap();
    let (start, session) = (pts(&first), first.header.session);
    deliver(first);
    let last = source.frame_where(PATIENCE, |frame| pts(frame) >= start + this_long).unwrap();
    assert_eq!(last.header.session, session, "the connection was lost");
    last
}

/// Returns the reason and detail of a camera's first failure; checks that a probe reports the same.
fn failure(settings: &CameraSettings) -> (RetryReason, String) {
    let source = RunningSource::start(settings.clone(), Take::default()).unwrap();
    let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
    source.stop().unwrap();
    let (reason, detail) = (report.retry.unwrap(), report.detail.unwrap());
    let probed = lookout_ingest::probe(settings, PATIENCE).unwrap_err();
    assert_eq!(probed.reason, reason, "{probed}");
    assert!(detail.starts_with(&probed.detail), "{probed}\n{detail}");
    (reason, detail)
}

#[test]
fn plays_streams_of_nonconforming_cameras() {
    let _module = lock_module(module_path!());
    let cameras = [
        "--sdp absolute",
        "--sdp absolute --content-base none",
        "--sdp other-host",
        "--sdp no-control",
        "--sdp onvif-first",
        "--sdp empty-fields",
        "--sdp latin1",
        "--sdp strange-video",
        "--content-base no-slash",
        "--content-base empty",
        "--content-base no-scheme",
        "--content-base wrong",
        "--content-base none",
        "--style lf",
        "--style lower",
        "--style split",
        "--style no-cseq",
        "--style blank-lines",
        "--style no-reason",
        "--status OPTIONS:405",
        "--status OPTIONS:501",
        "--channel 4",
        "--early-data",
        "--noise",
        "--sent-payload-type 97",
    ];
    for options in cameras {
        let server = ScriptedCamera::start(options).unwrap();
        let source = watch(&server.uri(""), "");
        deliver(play_for(&source, Duration::from_millis(400)));
        source.stop().unwrap();
        assert_eq!(server.count("connection").unwrap(), 1, "{options}");
        let methods: Vec<_> =
            server.log().unwrap().iter().filter_map(|e| e["method"].as_str().map(str::to_owned)).collect();
        assert_eq!(methods.last().map(String::as_str), Some("TEARDOWN"), "{options}: {methods:?}");
    }
}

#[test]
fn plays_over_udp_and_sends_receiver_reports() {
    let _module = lock_module(module_path!());
    let server = ScriptedCamera::start("--transport udp").unwrap();
    let source = watch(&server.uri(""), "transport = \"udp\"");
    let frame = source.frame_where(PATIENCE, |frame| frame.header.clock == Clock::Rtcp).unwrap();
    deliver(frame);
    source.stop().unwrap();
    let server = ScriptedCamera::start("--transport tcp").unwrap();
    let source = watch(&server.uri(""), "");
    while server.count("receiver_report").unwrap() == 0 {
        deliver(source.frame(PATIENCE).unwrap());
    }
    source.stop().unwrap();
}

#[test]
fn logs_in_with_every_scheme_in_one_attempt() {
    let _module = lock_module(module_path!());
    let schemes = ["basic", "digest", "digest-qop", "digest-sha256", "digest-both", "digest-stale"];
    for options in schemes
        .map(|scheme| format!("--auth {scheme}"))
        .iter()
        .map(String::as_str)
        .chain(["--auth digest --close-after-401"])
    {
        let server = ScriptedCamera::start(options).unwrap();
        let source = watch(&server.uri("admin:secret@"), "");
        deliver(play_for(&source, Duration::from_millis(200)));
        source.stop().unwrap();

        let server = ScriptedCamera::start(options).unwrap();
        let source = watch(&server.uri("admin:wr0ng-one@"), "");
        let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
        assert_eq!(report.retry, Some(RetryReason::Unauthorized), "{options}: {report:?}");
        let detail = report.detail.unwrap();
        assert!(
            detail.contains("rejected") && detail.contains("in 60 s") && !detail.contains("wr0ng"),
            "{detail}"
        );
        source.stop().unwrap();
        assert_eq!(server.logins().unwrap(), 1, "{options}");
    }
}

#[test]
fn passwords_can_contain_any_character() {
    let _module = lock_module(module_path!());
    for (password, written) in
        [("a#b/c?d", "a#b/c?d"), ("a@b:c/d#e?f%g", "a%40b%3Ac%2Fd%23e%3Ff%25g"), ("p@ss:w0rd", "p@ss:w0rd")]
    {
        let server = ScriptedCamera::start_with_password("--auth digest", password).unwrap();
        let source = watch(&server.uri(&format!("admin:{written}@")), "");
        deliver(source.frame(PATIENCE).unwrap());
        source.stop().unwrap();
    }
}

#[test]
fn a_session_is_kept_alive_over_tcp_and_udp() {
    let _module = lock_module(module_path!());
    let watched: Vec<_> = ["tcp", "udp"]
        .map(|transport| {
            let server = ScriptedCamera::start("--session-timeout 6 --enforce-timeout").unwrap();
            let source = watch(&server.uri(""), &format!("transport = {transport:?}"));
            (server, source)
        })
        .into();
    for (server, source) in watched {
        deliver(play_for(&source, Duration::from_secs(14)));
        source.stop().unwrap();
        assert_eq!(server.count("connection").unwrap(), 1);
        assert!(server.keep_alives().unwrap().iter().all(|method| method == "GET_PARAMETER"));
    }
}

#[test]
fn a_camera_that_refuses_keep_alives_stays_connected() {
    let _module = lock_module(module_path!());
    let watched: Vec<_> =
        [("unlisted", "OPTIONS"), ("405", "OPTIONS"), ("501", "OPTIONS"), ("454", ""), ("hang", "")]
            .map(|(answer, then)| {
                let server =
                    ScriptedCamera::start(&format!("--session-timeout 2 --keep-alive {answer}")).unwrap();
                let source = watch(&server.uri(""), "");
                (server, source, then)
            })
            .into();
    for (server, source, then) in watched {
        deliver(play_for(&source, Duration::from_secs(4)));
        source.stop().unwrap();
        assert_eq!(server.count("connection").unwrap(), 1);
        let sent = server.keep_alives().unwrap();
        assert!(sent.len() >= 2 && (then.is_empty() || sent.last().unwrap() == then), "{sent:?}");
    }
}

#[test]
fn keep_alives_stop_for_a_camera_that_closes_the_connection_on_them() {
    let _module = lock_module(module_path!());
    for transport in ["tcp", "udp"] {
        let server = ScriptedCamera::start("--session-timeout 2 --keep-alive close").unwrap();
        let source = watch(&server.uri(""), &format!("transport = {transport:?}"));
        let first = source.frame(PATIENCE).unwrap();
        let session = first.header.session;
        deliver(first);
        deliver(source.frame_where(PATIENCE, |frame| frame.header.session != session).unwrap());
        deliver(play_for(&source, Duration::from_secs(4)));
        source.stop().unwrap();
        assert_eq!(server.keep_alives().unwrap(), ["GET_PARAMETER"]);
    }
}

#[test]
fn a_change_of_ssrc_loses_no_frame_and_does_not_reconnect() {
    let _module = lock_module(module_path!());
    let watched: Vec<_> = ["", "--new-timestamps", "--bye-at-change", "--new-timestamps --bye-at-change"]
        .map(|options| {
            let server = ScriptedCamera::start(&format!("--ssrc-change 1 {options}")).unwrap();
            let source = watch(&server.uri(""), "queue = 1000");
            (server, source, options)
        })
        .into();
    for (server, source, options) in watched {
        let first = source.frame(PATIENCE).unwrap();
        let (start, session) = (pts(&first), first.header.session);
        let last = source.frame_where(PATIENCE, |frame| frame.header.seq >= 110).unwrap();
        assert_eq!(last.header.session, session, "{options}");
        // Lost frames would show as a time span longer than the number of frames.
        let frames = (last.header.seq - first.header.seq) as u32;
        let expected = Duration::from_millis(40) * frames;
        assert!((pts(&last) - start).abs_diff(expected) < Duration::from_millis(200), "{options}: {frames}");
        [first, last].into_iter().for_each(deliver);
        source.stop().unwrap();
        assert_eq!(server.count("connection").unwrap(), 1, "{options}");
    }
}

#[test]
fn the_end_of_a_stream_is_reported() {
    let _module = lock_module(module_path!());
    for (how, reason) in [
        ("close", RetryReason::EndOfStream),
        ("bye", RetryReason::EndOfStream),
        ("teardown", RetryReason::EndOfStream),
        ("reset", RetryReason::Unreachable),
    ] {
        let server = ScriptedCamera::start(&format!("--end {how}:1")).unwrap();
        let source = watch(&server.uri(""), "");
        let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
        assert_eq!(report.retry, Some(reason), "{how}: {report:?}");
        assert!(source.ledger.counts().received > 0, "{how}");
        source.stop().unwrap();
    }
}

#[test]
fn failures_name_the_cameras_answer_and_give_advice() {
    let _module = lock_module(module_path!());
    use RetryReason::{NotFound, Unauthorized, Undecodable, Unreachable};
    let cases = [
        ("--transport udp", "", Unreachable, "461 Unsupported Transport", "set `transport = \"udp\"`"),
        ("--transport tcp", "transport = \"udp\"", Unreachable, "461", "set `transport = \"tcp\"`"),
        ("--status DESCRIBE:403", "", Unauthorized, "403 Forbidden", "the user's rights"),
        ("--status DESCRIBE:404", "", NotFound, "404 Not Found", "check the path"),
        ("--status DESCRIBE:453", "", Unreachable, "453 Not Enough Bandwidth", "close other viewers"),
        ("--status DESCRIBE:500", "", Unreachable, "500 Internal Server Error", "restart it"),
        ("--status DESCRIBE:503", "", Unreachable, "503 Service Unavailable", "busy"),
        ("--status SETUP:453", "", Unreachable, "answered SETUP with `453", "close other viewers"),
        ("--status PLAY:454", "", Unreachable, "answered PLAY with `454", "lost the session"),
        ("--auth digest", "", Unauthorized, "`uri` has none", "rtsp://USER:PASSWORD@HOST"),
        ("--sdp audio-only", "", Undecodable, "no video", "audio (PCMU)"),
        ("--sdp strange", "", Undecodable, "X-STRANGE", "H.264"),
        ("--sdp html", "", Undecodable, "<html>", "check the path"),
        (
            "--redirect http://127.0.0.1/",
            "",
            Unreachable,
            "redirected to `http://127.0.0.1/`",
            "check the path",
        ),
    ];
    for (options, more, reason, answered, advice) in cases {
        let server = ScriptedCamera::start(options).unwrap();
        let (found, detail) = failure(&settings(&server.uri(""), more));
        assert_eq!(found, reason, "{detail}");
        assert!(detail.contains(answered) && detail.contains(advice), "{options}: {detail}");
    }
}

#[test]
fn connection_failures_name_the_cause() {
    let _module = lock_module(module_path!());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_, detail) = failure(&settings(&format!("rtsp://127.0.0.1:{free}/cam"), ""));
    assert!(detail.contains("refused the connection"), "{detail}");
    // Without a name server, the error is another one.
    let (_, detail) = failure(&settings("rtsp://camera.invalid/cam", ""));
    assert!(detail.contains("does not resolve") || detail.contains("name server did not answer"), "{detail}");

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in web.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (_, detail) = failure(&settings(&format!("rtsp://127.0.0.1:{port}/cam"), ""));
    assert!(detail.contains("a web server listens on this port"), "{detail}");
}

#[test]
fn follows_redirects_and_detects_loops() {
    let _module = lock_module(module_path!());
    let target = ScriptedCamera::start("").unwrap();
    let server = ScriptedCamera::start(&format!("--redirect {}", target.uri(""))).unwrap();
    let source = watch(&server.uri(""), "");
    deliver(source.frame(PATIENCE).unwrap());
    source.stop().unwrap();

    for location in ["rtsp://127.0.0.1:%PORT%/cam", "rtsp://127.0.0.1:%PORT%/cam?", "/cam"] {
        let server = ScriptedCamera::start(&format!("--redirect {location}")).unwrap();
        let source = watch(&server.uri(""), "retry_first_ms = 60000\nretry_max_ms = 60000");
        let report = source.report(CameraStatus::Retrying, PATIENCE).unwrap();
        assert!(report.detail.as_ref().unwrap().contains("in a loop"), "{report:?}");
        source.stop().unwrap();
        assert!(server.count("connection").unwrap() <= 6, "{location}");
    }
}

#[test]
fn credentials_are_not_sent_to_a_redirect_target() {
    let _module = lock_module(module_path!());
    let target = ScriptedCamera::start("--auth basic").unwrap();
    let server = ScriptedCamera::start(&format!("--redirect {}", target.uri(""))).unwrap();
    let (reason, detail) = failure(&settings(&server.uri("admin:secret@"), ""));
    assert_eq!(reason, RetryReason::Unauthorized);
    assert!(
        detail.contains("redirected to") && detail.contains("only sent to the address in `uri`"),
        "{detail}"
    );
    assert!(target.count("request").unwrap() > 0);
    assert_eq!(target.logins().unwrap(), 0);
}

#[test]
fn tls_cameras_are_not_redirected_to_plain_rtsp() {
    let _module = lock_module(module_path!());
    let folder = TempDir::new().unwrap();
    let (key, both) = (folder.path().join("key.pem"), folder.path().join("both.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=camera",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&both)
        .output()
        .unwrap();
    assert!(made.status.success());
    fs::write(&both, fs::read_to_string(&key).unwrap() + &fs::read_to_string(&both).unwrap()).unwrap();
    let server = ScriptedCamera::start_tls("--session-timeout 2", &both).unwrap();
    let source = watch(&server.uri(""), "tls_verify = false");
    deliver(play_for(&source, Duration::from_secs(2)));
    source.stop().unwrap();
    let (reason, detail) = failure(&settings(&server.uri(""), ""));
    assert_eq!(reason, RetryReason::Untrusted);
    assert!(detail.contains("tls_verify = false"), "{detail}");

    let moved = ScriptedCamera::start_tls("--redirect rtsp://127.0.0.1/", &both).unwrap();
    let (_, detail) = failure(&settings(&moved.uri(""), "tls_verify = false"));
    assert!(detail.contains("not encrypted"), "{detail}");
}

#[test]
fn a_file_with_only_sound_is_undecodable() {
    let _module = lock_module(module_path!());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("talk.m4a");
    write_sound(&path).unwrap();
    let settings = camera(&format!("uri = {path:?}")).unwrap();
    let fault = lookout_ingest::probe(&settings, PATIENCE).unwrap_err();
    assert_eq!(fault.reason, RetryReason::Undecodable);
    assert!(fault.detail.contains("it has no video"), "{fault}");
}
