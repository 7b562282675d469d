//! Consumers in other languages, as `examples/` shows them, and recordings of records.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use lookout_broker::{Embedded, ReadFrom, ReadRecord, ReaderOptions, RecordReader, Recorded, Replayer};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{Epoch, FrameRecord, RecordFormat, RecordKind, Timestamp};
use lookout_tests::{
    isolation::lock_module,
    program::{self, Running, lookout},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(600);

/// The record that docs/records.md shows.
const FRAME: &str = include_str!("../../../crates/schema/tests/golden/frame.1.json");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn embedded() -> Embedded {
    Embedded::start(&KafkaSettings { brokers: Brokers::Embedded, ..program::embedded("127.0.0.1:1") })
        .unwrap()
}

fn frame(epoch: u64, seq: u64) -> FrameRecord {
    let mut frame: FrameRecord = serde_json::from_str(FRAME).unwrap();
    // Some languages round half up, others half to even.
    frame.detections[0].bbox.y1 = 220.25;
    FrameRecord { epoch: Epoch(epoch), seq, age_ms: seq as i64, ..frame }
}

/// Returns the output of an example for `frame(_, seq)`.
fn line(seq: u64) -> String {
    format!("2026-11-24T08:00:00.123456Z north-gate {seq} ms: person 0.94 [104 220 161 398]")
}

fn message(value: Vec<u8>, time_ms: i64) -> Recorded {
    Recorded {
        kind: RecordKind::Frame,
        partition: 0,
        offset: 0,
        time_ms: Some(time_ms),
        key: Some(b"north-gate".to_vec()),
        value: Some(value),
        headers: Vec::new(),
    }
}

async fn write(cluster: &Embedded, values: impl IntoIterator<Item = Vec<u8>>) {
    let mut replayer = Replayer::start(cluster.settings(), &BTreeMap::new()).unwrap();
    for value in values {
        replayer.send(&message(value, Timestamp::now().as_unix_us() / 1000)).await.unwrap();
    }
    replayer.finish().await.unwrap();
}

fn json(frame: &FrameRecord) -> Vec<u8> {
    lookout_wire::encode(frame, RecordFormat::Json).unwrap()
}

fn protobuf(frame: &FrameRecord) -> Vec<u8> {
    lookout_wire::encode(frame, RecordFormat::Protobuf).unwrap()
}

/// Returns records for which consumers need care; only those with an even `seq` are to be printed.
fn tricky(format: fn(&FrameRecord) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut later = serde_json::to_value(frame(8, 4)).unwrap();
    later["new_in_a_later_version"] = [1, 2].as_slice().into();
    let other_version = FrameRecord { schema: "lookout.frame/2".into(), ..frame(9, 7) };
    vec![
        json(&frame(7, 0)),
        format(&frame(7, 2)),
        // From a worker that has lost the camera.
        format(&frame(6, 3)),
        b"neither".to_vec(),
        b"{\"schema\": 3}".to_vec(),
        json(&other_version),
        later.to_string().into_bytes(),
        format(&frame(8, 6)),
    ]
}

/// Runs a command to its end and returns its standard output.
fn printed(command: &mut Command) -> String {
    let output = Command::new("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn lines(seqs: impl IntoIterator<Item = u64>) -> String {
    seqs.into_iter().map(|seq| line(seq) + "\n").collect()
}

#[tokio::test]
async fn python_example_prints_the_current_records() {
    let _module = lock_module(module_path!());
    let python = printed(&mut Command::new("scripts/consumers.sh"));
    let folder = TempDir::new().unwrap();
    for file in ["consume.py", "requirements.txt"] {
        fs::copy(root().join("examples/python").join(file), folder.path().join(file)).unwrap();
    }
    // The command in the first lines of the example.
    let mut protoc = Command::new(python.trim());
    protoc
        .args(["-m", "grpc_tools.protoc", "-I", "schemas", "lookout.proto", "--python_out"])
        .arg(folder.path());
    printed(&mut protoc);
    let cluster = embedded();
    let consume = |count: &str| {
        let mut command = Command::new(python.trim());
        command.arg(folder.path().join("consume.py")).args([cluster.bootstrap(), "--count", count]);
        printed(&mut command)
    };
    write(&cluster, tricky(protobuf)).await;
    assert_eq!(consume("4"), lines([0, 2, 4, 6]));
    // It resumes at its committed offset.
    write(&cluster, [protobuf(&frame(8, 8))]).await;
    assert_eq!(consume("1"), lines([8]));
}

#[tokio::test]
async fn rust_example_prints_the_current_records() {
    let _module = lock_module(module_path!());
    let cluster = embedded();
    let program = lookout().unwrap().with_file_name("example-consume");
    assert!(program.is_file(), "{} is not built; `make test` builds it", program.display());
    let consume =
        |count: &str| printed(Command::new(&program).args([cluster.bootstrap(), "lookout", "group", count]));
    write(&cluster, tricky(protobuf)).await;
    assert_eq!(consume("4"), lines([0, 2, 4, 6]));
    write(&cluster, [json(&frame(8, 8))]).await;
    assert_eq!(consume("1"), lines([8]));
}

#[tokio::test]
async fn kcat_example_prints_the_current_records() {
    let _module = lock_module(module_path!());
    let cluster = embedded();
    let consume = |count: usize| {
        let args = [cluster.bootstrap(), "lookout", "group", "-c", &count.to_string()];
        printed(Command::new("examples/kcat/consume.sh").args(args))
    };
    let written = tricky(json);
    let count = written.len();
    write(&cluster, written).await;
    assert_eq!(consume(count), lines([0, 2, 4, 6]));
    write(&cluster, [json(&frame(8, 8))]).await;
    assert_eq!(consume(1), lines([8]));
}

/// Returns the frame records on a topic in their order.
async fn frames(kafka: &KafkaSettings) -> Vec<FrameRecord> {
    let kinds = vec![RecordKind::Frame];
    let options =
        ReaderOptions { from: ReadFrom::Beginning, until_end: true, kinds, ..ReaderOptions::default() };
    let mut reader = RecordReader::open(kafka, &options).await.unwrap();
    let mut frames = Vec::new();
    while let Some(record) = reader.next().await.unwrap() {
        let ReadRecord::Frame(frame) = record else { panic!("{record:?}") };
        frames.push(*frame);
    }
    frames
}

/// Saves the records of a worker that writes Protobuf, and replays them.
#[tokio::test]
async fn tail_ends_with_success_on_sigterm_and_completes_its_recording() {
    let _module = lock_module(module_path!());
    let cluster = embedded();
    write(&cluster, [json(&frame(7, 0))]).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("run.jsonl.zst");
    for save in [false, true] {
        let mut command = Command::new(lookout().unwrap());
        command.args(["tail", "--brokers", cluster.bootstrap(), "--from-beginning"]).stdout(Stdio::piped());
        if save {
            command.arg("--save").arg(&file);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("north-gate"), "{line}");
        let killed = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{ended}");
    }
    let replayed = printed(
        Command::new(lookout().unwrap()).arg("replay").arg(&file).args(["--brokers", cluster.bootstrap()]),
    );
    assert!(replayed.starts_with("1 messages"), "{replayed}");
}

#[tokio::test]
async fn records_in_protobuf_are_saved_by_tail_and_replayed() {
    let _module = lock_module(module_path!());
    let mut running = Running::start(
        "[kafka]\nbrokers = \"embedded\"\nformat = \"protobuf\"\n[[camera]]\nid = \"bars\"\n\
         uri = \"test://ball?width=320&height=240&fps=10\"",
    )
    .unwrap();
    let brokers = running.broker(PATIENCE).unwrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let save = |file: &PathBuf| {
        let args = ["tail", "--brokers", &brokers, "--from-beginning", "--status", "--count", "15", "--save"];
        let mut command = Command::new(lookout().unwrap());
        printed(command.args(args).arg(file))
    };
    let file = path("run.jsonl.zst");
    let output = save(&file);
    assert_eq!(output.lines().filter(|line| line.contains(" bars #")).count(), 15, "{output}");
    drop(running);

    let cluster = embedded();
    let replay = |file: &PathBuf, more: &[&str]| {
        let mut command = Command::new(lookout().unwrap());
        command.arg("replay").arg(file).args(["--brokers", cluster.bootstrap()]).args(more);
        printed(&mut command)
    };
    let out = replay(&file, &["--speed", "max"]);
    assert!(out.contains(" messages in "), "{out}");
    let was = frames(cluster.settings()).await;
    assert_eq!(was.len(), 15);
    assert!(was.is_sorted_by_key(|frame| frame.seq));

    // Replays a truncated recording with shifted times, at the original intervals.
    let whole = fs::read(&file).unwrap();
    let cut = path("cut");
    fs::write(&cut, &whole[..whole.len() - 3]).unwrap();
    let started = Timestamp::now();
    replay(&cut, &["--shift-time", "--topic-prefix", "again"]);
    let mut again = cluster.settings().clone();
    again.topics = lookout_schema::Topics::new("again").unwrap();
    let is = frames(&again).await;
    assert!(!is.is_empty());
    let took = Timestamp::now().ms_since(started);
    let (first, last) = (is.first().unwrap(), is.last().unwrap());
    let lasted = was[is.len() - 1].published_at.ms_since(was[0].published_at);
    assert!(took >= lasted - 50, "{took} ms for a recording of {lasted} ms");
    assert!((last.published_at.ms_since(first.published_at) - lasted).abs() < 50);
    assert!(first.published_at >= started - Duration::from_millis(100), "{first:?} before {started}");
    assert!(is.iter().zip(&was).all(|(is, was)| is.age_ms == was.age_ms && is.seq == was.seq));
}
