//! `lookout run` with good and misbehaving cameras in one worker.

use std::{collections::BTreeMap, env, fmt::Write, fs, time::Duration};

use lookout_schema::{CameraStatus, StatusRecord};
use lookout_tests::{
    isolation::lock_program,
    program::{Running, embedded},
    records::Records,
    scripted_camera::ScriptedCamera,
    video::{clip, write_gif},
};

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);

/// Options of cameras that refuse connections, end, send corrupt data, or send unsupported streams.
const BAD: [&str; 42] = [
    "--clock behind",
    "--clock small-jump",
    "--clock wander",
    "--timestamps jump",
    "--timestamps restart",
    "--timestamps constant",
    "--start-at 20",
    "--auth digest --password other",
    "--auth basic --password other --close-after-401",
    "--session-timeout 2 --enforce-timeout",
    "--session-timeout 2 --keep-alive hang",
    "--session-timeout 2 --keep-alive close",
    "--ssrc-change 1",
    "--ssrc-change 1 --new-timestamps --bye-at-change",
    "--foreign-packets 50",
    "--transport udp",
    "--status DESCRIBE:403",
    "--status DESCRIBE:453",
    "--status SETUP:500",
    "--status PLAY:503",
    "--redirect rtsp://127.0.0.1:%PORT%/cam",
    "--sdp audio-only",
    "--sdp strange",
    "--sdp html",
    "--sdp empty",
    "--sdp many-media",
    "--sent-payload-type 33",
    "--lose 0.1",
    "--reorder 3",
    "--gap 2:5",
    "--noise",
    "--end close:1",
    "--end reset:1",
    "--end bye:1",
    "--end garbage:1",
    "--end half-packet:1",
    "--mutate 1",
    "--mutate 2",
    "--mutate 3",
    "--mutate 4",
    "--mutate 5",
    "--mutate 6 --style split",
];

#[tokio::test]
async fn misbehaving_cameras_do_not_affect_good_ones() {
    let _module = lock_program(module_path!());
    const FPS: u64 = 5;
    let seconds = env::var("LOOKOUT_BESIDE_SECONDS").map_or(15, |text| text.parse().unwrap());
    let good = [(); 2].map(|()| ScriptedCamera::start(&format!("--fps {FPS}")).unwrap());
    let bad = BAD.map(|options| ScriptedCamera::start(&format!("--fps {FPS} {options}")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let damaged = |name: &str, mut bytes: Vec<u8>| {
        let half = bytes.len() / 2;
        bytes[half..].iter_mut().take(4_000).for_each(|byte| *byte = 0);
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let whole = folder.path().join("whole.gif");
    write_gif(&whole, 96, 64, 12).unwrap();
    let files = [
        damaged("damaged.gif", fs::read(&whole).unwrap()),
        damaged("damaged.mp4", fs::read(clip()).unwrap()),
        damaged("noise.avi", vec![7; 20_000]),
    ];
    // Long queues, so that no frame is lost because the machine is slow: the test is about effects between
    // cameras.
    let mut lines = String::from("[batch]\nmax_age_ms = 60000\n");
    let mut add = |id: String, uri: &str, more: &str| {
        writeln!(lines, "[[camera]]\nid = \"{id}\"\nuri = {uri:?}\n{more}").unwrap();
    };
    for (i, server) in good.iter().enumerate() {
        add(format!("good-{i}"), &server.uri(""), "queue = 1000\nstall_timeout_ms = 120000");
    }
    for (i, server) in bad.iter().enumerate() {
        let login = if BAD[i].contains("--auth") { "admin:secret@" } else { "" };
        add(format!("bad-{i}"), &server.uri(login), "stall_timeout_ms = 2000");
    }
    for (i, path) in files.iter().enumerate() {
        add(format!("file-{i}"), path, "");
    }
    let mut running = Running::start(&lines).unwrap();
    let address = running.broker(PATIENCE).unwrap();
    let mut records = Records::open(&embedded(&address)).await.unwrap();
    let mut last: BTreeMap<_, (u64, _)> = BTreeMap::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    while (0..2).any(|i| counts.get(&format!("good-{i}")).is_none_or(|count| *count < FPS * seconds)) {
        let frame = records.frame(PATIENCE).await.unwrap();
        let camera = frame.camera.to_string();
        *counts.entry(camera.clone()).or_default() += 1;
        let before = last.insert((camera.clone(), frame.session), (frame.seq, frame.captured_at));
        let Some((seq, captured_at)) = before else { continue };
        assert!(frame.seq > seq && frame.captured_at >= captured_at, "after {seq}, {captured_at}: {frame:?}");
        assert!(!camera.starts_with("good") || frame.seq == seq + 1, "after {seq}: {frame:?}");
    }
    running.signal("INT").unwrap();
    let ended = running.finish(PATIENCE).unwrap();
    ended.summary.check().unwrap();
    for (id, camera) in &ended.summary.cameras {
        println!("{id}: {camera:?}");
        if id.starts_with("good") {
            assert!(camera.dropped.keys().all(|cause| cause == "shutdown"), "{id}: {camera:?}");
        }
    }
    let retried = |id: &str| {
        records.statuses.iter().any(|status| match status {
            StatusRecord::Camera(camera) => {
                camera.camera.as_str() == id && camera.status == CameraStatus::Retrying
            }
            StatusRecord::Worker(_) => false,
        })
    };
    assert!(!retried("good-0") && !retried("good-1"));
    for (i, options) in BAD.iter().enumerate() {
        let id = format!("bad-{i}");
        println!("{id} {options}: {} records", counts.get(&id).copied().unwrap_or(0));
        let dropped = &ended.summary.cameras[id.as_str()].dropped;
        let explained = counts.contains_key(&id) || retried(&id) || !dropped.is_empty();
        assert!(explained, "{options}: no record, no retry and no dropped frame");
    }
}
