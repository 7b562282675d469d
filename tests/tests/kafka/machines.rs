//! The setup of docker-compose.yml without Docker: the same order of starts, listeners and number of workers.
//! The workers run in network namespaces if this process may create them, else on this machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the test prints measurements")]

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use lookout_schema::Timestamp;
use lookout_tests::{
    fleet::{All, FleetWorker, Watch, cameras, write_cameras},
    isolation::lock_program,
    kafka::KafkaServer,
    netns::{HERE, Machine},
    scripted_camera::ScriptedCamera,
};

const PATIENCE: Duration = Duration::from_secs(600);
const PREFIX: &str = "lookout";
const PARTITIONS: usize = 12;
const CAMERAS: usize = 8;
/// The default session timeout, and the time that a new owner may take to start.
const SESSION: Duration = Duration::from_secs(6);
const TO_BEGIN: Duration = Duration::from_secs(3);

/// Returns the current epoch of a camera.
fn newest(all: &All, camera: &str) -> u64 {
    all.frames.iter().filter(|frame| frame.camera == camera).map(|frame| frame.epoch).max().unwrap_or(0)
}

fn machines(count: u8) -> Vec<Machine> {
    match (1..=count).map(Machine::start).collect::<Result<Vec<_>, _>>() {
        Ok(machines) => machines,
        Err(error) => {
            println!("no network namespaces here, all workers are on this machine: {error:#}");
            Vec::new()
        }
    }
}

/// Waits until the workers' shares are even, considering only status records from now on.
async fn balanced(watch: &Watch, workers: usize) {
    let since = Timestamp::now();
    let even = |all: &All| {
        if all.workers.values().any(|worker| worker.at < since) {
            return None;
        }
        let sizes: Vec<usize> = all.partitions().values().map(BTreeSet::len).collect();
        let whole = sizes.iter().sum::<usize>() == PARTITIONS && sizes.len() == workers;
        (whole && sizes.iter().max()? - sizes.iter().min()? <= 1).then_some(())
    };
    watch.until("shares differ by one partition at most", PATIENCE, even).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cameras_of_a_disconnected_machine_move_to_the_others() {
    let _module = lock_program(module_path!());
    let machines = machines(3);
    let here = if machines.is_empty() { Ipv4Addr::LOCALHOST } else { HERE };

    // In the order of docker-compose.yml: Kafka, the registry's cameras, the cameras themselves, the workers.
    // The import and the test's reader use the outer listener, the workers the inner one.
    let kafka = KafkaServer::start_with_inner(here).unwrap();
    let (outer, inner) = (kafka.bootstrap(), kafka.inner().unwrap());
    // Not GStreamer's server, which aborts with an assertion when it cannot send (1.22, `backlog_push`).
    let served = [(); 2].map(|()| ScriptedCamera::start_at(here, "").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cameras.jsonl");
    let uris: Vec<String> = (0..CAMERAS).map(|i| served[i % 2].uri("")).collect();
    let lines = uris.iter().enumerate().map(|(i, uri)| (format!("cam-{i}"), uri.as_str(), ", \"fps\": 2"));
    write_cameras(&file, lines).unwrap();
    let partitions = PARTITIONS.to_string();
    cameras(&outer, PREFIX, &["import", file.to_str().unwrap(), "--partitions", &partitions]).unwrap();
    let settings = kafka.settings(PREFIX);
    let opening = tokio::spawn(async move { Watch::open(&settings).await });
    let start = |i: usize| {
        let lines = format!("partitions = {PARTITIONS}");
        FleetWorker::start_on(machines.get(i), &inner, PREFIX, &format!("edge-{i}"), &lines).unwrap()
    };
    let mut workers = vec![start(0), start(1), start(2)];
    let watch = opening.await.unwrap().unwrap();
    balanced(&watch, 3).await;
    let since = Instant::now();
    let all_deliver = |all: &All| (all.owners(since).len() == CAMERAS).then_some(());
    watch.until("all cameras deliver", PATIENCE, all_deliver).await.unwrap();

    if !machines.is_empty() {
        // The ids determine which worker owns which camera; the worker with the most cameras is cut off.
        let owners = watch.all().owners(since);
        let of = |i: usize| -> BTreeSet<String> {
            let name = format!("edge-{i}");
            let own = owners.iter().filter(|(_, (owner, _))| *owner == name);
            own.map(|(camera, _)| camera.clone()).collect()
        };
        let cut_off = (0..3).max_by_key(|i| of(*i).len()).unwrap();
        let lost = of(cut_off);
        machines[cut_off].unplug().unwrap();
        let cut = Instant::now();
        let elsewhere = |all: &All| {
            let owners = all.owners(cut);
            let name = format!("edge-{cut_off}");
            let taken = |camera| owners.get(camera).is_some_and(|(owner, _)| *owner != name);
            lost.iter().all(taken).then_some(())
        };
        let within = SESSION + TO_BEGIN;
        let (_, took) = watch.until("other workers own its cameras", PATIENCE, elsewhere).await.unwrap();
        let count = lost.len();
        println!("cable disconnected: its {count} cameras deliver after {took:?}, target {within:?}");
        let overlap = watch.all().longest_overlap().unwrap();
        println!("two owners of a camera at once: for at most {overlap:?}");
        assert!(overlap <= SESSION);
        machines[cut_off].plug_in().unwrap();
        let plugged_in = Instant::now();
        balanced(&watch, 3).await;
        println!("cable connected: it has its share again after {:?}", plugged_in.elapsed());
        // Until the group answered, it published what it had buffered, under epochs that are no longer current.
        let all = watch.all();
        let name = format!("edge-{cut_off}");
        let late = all.frames.iter().filter(|frame| frame.at >= plugged_in && frame.worker == name);
        let last = late.filter(|frame| frame.epoch < newest(&all, &frame.camera)).map(|frame| frame.at).max();
        let last = last.map(|last| last - plugged_in).unwrap_or_default();
        println!("its last late record arrived after {last:?}");
    }
    // Checks that each epoch has one owner.
    watch.all().longest_overlap().unwrap();
    for worker in &mut workers {
        assert!(worker.is_running().unwrap(), "{}: {}", worker.id, worker.log());
    }
}
