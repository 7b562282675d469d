//! Workers that share cameras on a real Apache Kafka: rebalanced, stopped, killed, paused, and during a
//! restart of Kafka.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the test prints measurements")]

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use lookout_schema::Timestamp;
use lookout_tests::{
    fleet::{All, FleetWorker, Watch, cameras, write_cameras},
    isolation::lock_program,
    kafka::KafkaServer,
};

const PATIENCE: Duration = Duration::from_secs(600);
const CAMERAS: usize = 30;
const PARTITIONS: usize = 12;
/// The default session timeout.
const SESSION: Duration = Duration::from_secs(6);
/// Upper bound on a slow machine for steps that should take seconds. The tests print how long they took.
const SOON: Duration = Duration::from_secs(60);
const SMALL: &str = "test://ball?width=64&height=48&fps=2";

/// Returns `Some` if at least `cameras` cameras have delivered since `since`.
fn all_deliver(all: &All, since: Instant, cameras: usize) -> Option<()> {
    (all.owners(since).len() >= cameras).then_some(())
}

/// Returns `Some` if all of `these` cameras have delivered from another worker than `not` since `since`.
fn taken_over(all: &All, since: Instant, these: &BTreeSet<String>, not: &str) -> Option<()> {
    let owners = all.owners(since);
    these.iter().all(|camera| owners.get(camera).is_some_and(|(worker, _)| worker != not)).then_some(())
}

fn cameras_of(all: &All, since: Instant, worker: &str) -> BTreeSet<String> {
    let owners = all.owners(since);
    owners.into_iter().filter(|(_, (owner, _))| owner == worker).map(|(camera, _)| camera).collect()
}

struct Fleet {
    kafka: KafkaServer,
    prefix: &'static str,
    watch: Watch,
    workers: Vec<FleetWorker>,
}

impl Fleet {
    fn join(&mut self, id: &str) {
        let lines = format!("partitions = {PARTITIONS}");
        self.workers.push(FleetWorker::start(&self.kafka.bootstrap(), self.prefix, id, &lines).unwrap());
    }

    async fn balanced(&self, workers: usize) -> Duration {
        let even = |all: &All| {
            let shares = all.partitions();
            let sizes: Vec<usize> = shares.values().map(BTreeSet::len).collect();
            let whole = sizes.iter().sum::<usize>() == PARTITIONS && sizes.len() == workers;
            (whole && sizes.iter().max()? - sizes.iter().min()? <= 1).then_some(())
        };
        self.watch.until("shares differ by one partition at most", PATIENCE, even).await.unwrap().1
    }

    /// Removes a worker from the list and returns it.
    fn take(&mut self, id: &str) -> FleetWorker {
        let at = self.workers.iter().position(|worker| worker.id == id).unwrap();
        self.workers.remove(at)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleet_keeps_every_camera_running_through_joins_stops_kills_and_pauses() {
    let _module = lock_program(module_path!());
    let kafka = KafkaServer::start().unwrap();
    let prefix = "fleet";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cameras.jsonl");
    write_cameras(&file, (0..CAMERAS).map(|i| (format!("cam-{i:02}"), SMALL, ""))).unwrap();
    let partitions = PARTITIONS.to_string();
    cameras(&kafka.bootstrap(), prefix, &["import", file.to_str().unwrap(), "--partitions", &partitions])
        .unwrap();
    let settings = kafka.settings(prefix);
    let bootstrap = kafka.bootstrap();
    let opening = tokio::spawn(async move { Watch::open(&settings).await });
    let first = FleetWorker::start(&bootstrap, prefix, "w1", &format!("partitions = {PARTITIONS}")).unwrap();
    let watch = opening.await.unwrap().unwrap();
    let mut fleet = Fleet { kafka, prefix, watch, workers: vec![first] };
    fleet.join("w2");
    fleet.join("w3");

    a_fourth_worker_takes_only_its_share(&mut fleet).await;
    a_camera_is_added_and_removed(&fleet).await;
    a_stopped_worker_hands_over_its_cameras(&mut fleet).await;
    a_killed_worker_is_replaced(&mut fleet).await;
    records_of_a_paused_worker_have_an_old_epoch(&mut fleet).await;
    every_camera_runs_while_kafka_is_down(&mut fleet).await;
    for worker in &mut fleet.workers {
        assert!(worker.is_running().unwrap(), "{}: {}", worker.id, worker.log());
    }
    let overlap = fleet.watch.all().longest_overlap().unwrap();
    println!("two owners of a camera at once: for at most {overlap:?}, limit {SESSION:?}");
    assert!(overlap <= SESSION);
}

async fn a_fourth_worker_takes_only_its_share(fleet: &mut Fleet) {
    fleet.balanced(3).await;
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    let (shares, before) = {
        let all = fleet.watch.all();
        (all.partitions(), all.owners(since))
    };
    let sizes: Vec<usize> = shares.values().map(BTreeSet::len).collect();
    println!("3 workers, {CAMERAS} cameras: {sizes:?} of {PARTITIONS} partitions");
    fleet.join("w4");
    fleet.balanced(4).await;
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    let all = fleet.watch.all();
    let (shares_after, after) = (all.partitions(), all.owners(since));
    let moved: BTreeSet<i32> = shares_after["w4"].clone();
    for (worker, share) in &shares {
        let kept: BTreeSet<i32> = share.difference(&moved).copied().collect();
        assert_eq!(shares_after[worker], kept, "{worker}");
    }
    let mut moved_cameras = 0;
    for (camera, (owner, session)) in &after {
        if owner == "w4" {
            moved_cameras += 1;
        } else {
            assert_eq!((owner, session), (&before[camera].0, &before[camera].1), "{camera} was restarted");
        }
    }
    println!(
        "a fourth worker takes {} partitions with {moved_cameras} cameras; the other {} keep their sessions",
        moved.len(),
        CAMERAS - moved_cameras
    );
}

async fn a_camera_is_added_and_removed(fleet: &Fleet) {
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    let before = fleet.watch.all().owners(since);
    let kafka = fleet.kafka.bootstrap();
    let started = Instant::now();
    cameras(&kafka, fleet.prefix, &["add", "guest", SMALL]).unwrap();
    let typed = started.elapsed();
    let here = |all: &All| all.frames.iter().find(|frame| frame.camera == "guest").map(|frame| frame.at);
    let (at, _) = fleet.watch.until("the new camera delivers", PATIENCE, here).await.unwrap();
    let added = at.duration_since(started);
    let started = Instant::now();
    cameras(&kafka, fleet.prefix, &["remove", "guest"]).unwrap();
    let allowed = Duration::from_secs(3);
    let later = |all: &All| all.frames.iter().any(|frame| frame.at > started + allowed).then_some(());
    fleet.watch.until("records after the guest's last one", PATIENCE, later).await.unwrap();
    let last = fleet.watch.all().frames.iter().rev().find(|frame| frame.camera == "guest").unwrap().at;
    let removed = last.saturating_duration_since(started);
    println!(
        "a new camera delivers after {added:?} (the command took {typed:?}), is removed after {removed:?}"
    );
    assert!(added < SOON && removed < allowed);
    // An invalid camera is reported and does not affect the others.
    cameras(&kafka, fleet.prefix, &["add", "strange", SMALL, "--class", "no such class"]).unwrap();
    let failure = |all: &All| all.failed.get("strange").cloned();
    let (why, _) = fleet.watch.until("the invalid camera is reported", PATIENCE, failure).await.unwrap();
    assert!(why.contains("no such class"), "{why}");
    cameras(&kafka, fleet.prefix, &["remove", "strange"]).unwrap();
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    assert_eq!(fleet.watch.all().owners(since), before, "other cameras were restarted");
}

async fn a_stopped_worker_hands_over_its_cameras(fleet: &mut Fleet) {
    let leaver = fleet.take("w4");
    let theirs = cameras_of(&fleet.watch.all(), Instant::now() - Duration::from_secs(3), "w4");
    let started = Instant::now();
    leaver.signal("TERM").unwrap();
    let over = |all: &All| taken_over(all, started, &theirs, "w4");
    let (_, took) = fleet.watch.until("other workers own its cameras", PATIENCE, over).await.unwrap();
    println!("SIGTERM: its {} cameras deliver from other workers after {took:?}, target 3 s", theirs.len());
    assert!(took < SOON, "{took:?}: {}", leaver.log());
}

async fn a_killed_worker_is_replaced(fleet: &mut Fleet) {
    fleet.balanced(3).await;
    let dead = fleet.take("w3");
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    let theirs = cameras_of(&fleet.watch.all(), since, "w3");
    let started = Instant::now();
    drop(dead);
    let over = |all: &All| taken_over(all, started, &theirs, "w3");
    let (_, took) = fleet.watch.until("other workers own its cameras", PATIENCE, over).await.unwrap();
    let missing = fleet.watch.all().missing(started, |camera| !theirs.contains(camera)).unwrap();
    let most = SESSION + Duration::from_secs(3);
    println!(
        "SIGKILL: its {} cameras deliver after {took:?}, target {most:?}; others lose {missing} frames",
        theirs.len()
    );
    assert!(took < SESSION + SOON);
    assert_eq!(missing, 0);
}

async fn records_of_a_paused_worker_have_an_old_epoch(fleet: &mut Fleet) {
    fleet.watch.all().workers.remove("w3");
    fleet.balanced(2).await;
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    let theirs = cameras_of(&fleet.watch.all(), since, "w2");
    let sleeper = fleet.workers.iter().find(|worker| worker.id == "w2").unwrap();
    let epochs = |all: &All| -> u64 {
        all.frames.iter().filter(|frame| frame.worker == "w2").map(|frame| frame.epoch).max().unwrap_or(0)
    };
    let old = epochs(&fleet.watch.all());
    let paused = Instant::now();
    sleeper.signal("STOP").unwrap();
    let over = |all: &All| taken_over(all, paused + Duration::from_secs(1), &theirs, "w2");
    let (_, took) = fleet.watch.until("other workers own its cameras", PATIENCE, over).await.unwrap();
    let pause = Duration::from_secs(20);
    tokio::time::sleep(pause.saturating_sub(paused.elapsed())).await;
    let woken = Instant::now();
    sleeper.signal("CONT").unwrap();
    let back = |all: &All| (epochs(all) > old).then_some(());
    let (_, again) = fleet.watch.until("it owns cameras again", PATIENCE, back).await.unwrap();
    let all = fleet.watch.all();
    let mut late: Vec<Duration> = Vec::new();
    for frame in all.frames.iter().filter(|frame| frame.at >= woken && frame.worker == "w2") {
        if frame.epoch <= old {
            late.push(frame.at - woken);
            let theirs_now = all.frames.iter().filter(|other| other.camera == frame.camera);
            let newest = theirs_now.map(|other| other.epoch).max().unwrap();
            assert!(frame.epoch < newest, "a stale record has the current epoch: {frame:?}");
        }
    }
    let last = late.iter().max().copied().unwrap_or_default();
    println!(
        "SIGSTOP for {pause:?}: other workers deliver after {took:?}; after SIGCONT, {} stale records in {last:?}, all \
         with the old epoch; it owns cameras again after {again:?}",
        late.len()
    );
    assert!(last < SOON, "it did not release its cameras at once");
    // Checks that each epoch has one owner.
    all.longest_overlap().unwrap();
}

async fn every_camera_runs_while_kafka_is_down(fleet: &mut Fleet) {
    fleet.balanced(2).await;
    let since = Instant::now();
    fleet.watch.until("all cameras deliver", PATIENCE, |all| all_deliver(all, since, CAMERAS)).await.unwrap();
    let begin = Timestamp::now();
    fleet.kafka.kill();
    let down = Instant::now();
    // All workers lose their membership, as far as their clients can know.
    tokio::time::sleep(2 * SESSION).await;
    fleet.kafka.restart().unwrap();
    let up = Instant::now();
    let back = Timestamp::now();
    let current = |all: &All| {
        let new = all.frames.iter().filter(|frame| frame.captured_at > back);
        let cameras: BTreeSet<&str> = new.map(|frame| frame.camera.as_str()).collect();
        (cameras.len() == CAMERAS).then_some(())
    };
    let (_, took) = fleet.watch.until("all cameras deliver current frames", PATIENCE, current).await.unwrap();
    fleet.balanced(2).await;
    let all = fleet.watch.all();
    let gap = all.longest_gap(begin, back);
    println!(
        "Kafka was down for {:?}: every camera delivers current frames {took:?} later; the longest time without a frame \
         of a camera is {gap:?}",
        up - down,
    );
    let logs = || fleet.workers.iter().map(FleetWorker::log).collect::<String>();
    assert!(gap < up - down, "a camera had no worker while Kafka was down:\n{}", logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_a_thousand_cameras_starts_within_seconds() {
    let _module = lock_program(module_path!());
    const MANY: usize = 1000;
    let kafka = KafkaServer::start().unwrap();
    let prefix = "many";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cameras.jsonl");
    // One camera delivers; the others are refused at once and then wait for their next attempt.
    let refuse = ", \"options\": {\"retry_first_ms\": 60000, \"retry_max_ms\": 60000}";
    let many = (1..MANY).map(|i| (format!("cam-{i:04}"), "rtsp://127.0.0.1:1/x", refuse));
    write_cameras(&file, many.chain([("a-first".into(), SMALL, "")])).unwrap();
    cameras(&kafka.bootstrap(), prefix, &["import", file.to_str().unwrap()]).unwrap();
    one_of_several_concurrent_edits_of_a_camera_succeeds(&kafka.bootstrap());
    let settings = kafka.settings(prefix);
    let opening = tokio::spawn(async move { Watch::open(&settings).await });
    let started = Instant::now();
    let worker = FleetWorker::start(&kafka.bootstrap(), prefix, "w1", "").unwrap();
    let watch = opening.await.unwrap().unwrap();
    let first = |all: &All| all.frames.first().map(|frame| frame.at);
    let (at, _) = watch.until("the first camera delivers", PATIENCE, first).await.unwrap();
    println!("{MANY} cameras: the first record {:?} after the worker's start, target 5 s", at - started);
    assert!(at - started < SOON, "{}", worker.log());
    let held = |all: &All| all.workers.get("w1").filter(|worker| worker.cameras == MANY as u64).map(|_| ());
    let (_, took) = watch.until("all cameras run", PATIENCE, held).await.unwrap();
    println!("{MANY} cameras: all run {took:?} later");
}

fn one_of_several_concurrent_edits_of_a_camera_succeeds(kafka: &str) {
    const EDITORS: usize = 5;
    let add = |i: usize| {
        let uri = format!("{SMALL}&height={}", 48 + i);
        move || cameras(kafka, "edited", &["add", "gate", &uri, "--expect-version", "0"])
    };
    let done = thread::scope(|scope| {
        let editors: Vec<_> = (0..EDITORS).map(|i| scope.spawn(add(i))).collect();
        editors.into_iter().map(|editor| editor.join().unwrap()).collect::<Vec<_>>()
    });
    let refused: Vec<String> =
        done.iter().filter_map(|done| Some(done.as_ref().err()?.to_string())).collect();
    assert_eq!(refused.len(), EDITORS - 1, "{refused:?}");
    assert!(refused.iter().all(|why| why.contains("already exists in version 1")), "{refused:?}");
    // Concurrent edits of different cameras do not conflict.
    thread::scope(|scope| {
        let ids = (0..EDITORS).map(|i| format!("yard-{i}"));
        let add = |id: String| move || cameras(kafka, "edited", &["add", &id, SMALL]).unwrap();
        ids.for_each(|id| drop(scope.spawn(add(id))));
    });
    println!("{EDITORS} concurrent additions of one camera: {} are refused", refused.len());
}
