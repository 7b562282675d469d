//! A worker, a monitor and an adas process on a Kafka of three nodes, through all that operators do to it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "it says how long each step took")]

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lookout_broker::{Missing, ReadFrom, ReadRecord, ReaderOptions, RecordReader, Refused};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{CameraId, RecordKind, SessionId};
use lookout_tests::{
    adas::Adas,
    isolation::lock_module,
    kafka::KafkaCluster,
    kafka_acls::{self, Operation, Permission, Resource, Right},
    monitor::{Monitor, MonitorFiles},
    program::Running,
    scripted_camera::ScriptedCamera,
    video::clip,
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use tempfile::TempDir;

/// Only so that a test that cannot succeed ends.
const PATIENCE: Duration = Duration::from_secs(600);
const PREFIX: &str = "site";
const CAMERAS: [&str; 2] = ["file", "live"];
const USER: &str = "edge";
const PASSWORD: &str = "edge-secret";

/// What one who may read everything has read.
#[derive(Debug, Default)]
struct Read {
    /// Records of each camera.
    counts: BTreeMap<String, u64>,
    /// The last record of each session.
    last: BTreeMap<(CameraId, SessionId), u64>,
    /// Records that came behind later ones of their camera, or twice.
    disorder: Vec<String>,
    /// Records of the file that never came.
    missing: Vec<String>,
}

impl Read {
    fn take(&mut self, record: &ReadRecord) {
        let ReadRecord::Frame(frame) = record else { return };
        *self.counts.entry(frame.camera.to_string()).or_default() += 1;
        let last = self.last.insert((frame.camera.clone(), frame.session), frame.seq);
        let next = last.map_or(0, |last| last + 1);
        let what = format!("{} {}: {} after {last:?}", frame.camera, frame.session, frame.seq);
        if frame.seq < next {
            self.disorder.push(what);
        } else if frame.seq > next && frame.camera.as_str() == "file" {
            self.missing.push(what);
        }
    }
}

struct Site {
    kafka: KafkaCluster,
    /// `host:port` of the listeners whose users may do everything.
    inner: String,
    running: Running,
    monitor: Monitor,
    adas: Adas,
    read: Arc<Mutex<Read>>,
    _camera: ScriptedCamera,
    folder: TempDir,
}

impl Site {
    async fn start() -> Self {
        let kafka = KafkaCluster::start(&[(USER, PASSWORD)], &[]).unwrap();
        let inner = kafka.nodes.iter().map(|node| node.inner().unwrap()).collect::<Vec<_>>().join(",");
        for resource in [Resource::Topics(PREFIX), Resource::Groups("lookout"), Resource::Cluster] {
            kafka_acls::add(&first(&inner), &right(resource, Permission::Allow)).unwrap();
        }
        let bootstrap = kafka.bootstrap();
        let folder = TempDir::new().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        let client = format!(
            "password_file = {:?}\n[kafka.client]\n\"security.protocol\" = \"sasl_plaintext\"\n\
             \"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"{USER}\"\n",
            password.display().to_string(),
        );
        // One copy of each topic, so that a node that is away leaves partitions without a leader.
        let camera = ScriptedCamera::start("--fps 5").unwrap();
        let running = Running::start(&format!(
            "[kafka]\nbrokers = \"{bootstrap}\"\ntopic_prefix = \"{PREFIX}\"\npartitions = 3\nreplication = 1\n\
             {client}[[camera]]\nid = \"file\"\nuri = {:?}\nloop = true\n\
             [[camera]]\nid = \"live\"\nuri = {:?}\n",
            clip().display().to_string(),
            camera.uri("")
        ))
        .unwrap();
        let files = MonitorFiles { folder: folder.path(), kafka: &bootstrap, prefix: PREFIX, rules: &client };
        let monitor = files.start().unwrap();
        let adas = Adas::start_with(&bootstrap, PREFIX, &client).unwrap();
        let settings = KafkaSettings {
            brokers: Brokers::Servers(inner.clone()),
            client: Vec::new(),
            ..kafka.settings(PREFIX).unwrap()
        };
        let read = Arc::new(Mutex::new(Read::default()));
        tokio::spawn(follow(settings, Arc::clone(&read)));
        Self { kafka, inner, running, monitor, adas, read, _camera: camera, folder }
    }

    /// What each of the three says of itself: whether it is well, and why not.
    fn health(&self) -> [(&'static str, bool, String); 3] {
        let none = || (false, String::from("no answer"));
        let ready = self.running.page("/readyz").map(|(code, body)| (code == 200, body));
        [
            ("worker", ready.unwrap_or_else(none)),
            ("monitor", self.monitor.health().unwrap_or_else(none)),
            ("adas", self.adas.health().unwrap_or_else(none)),
        ]
        .map(|(name, (is_well, says))| (name, is_well, says))
    }

    /// Waits until `done`, while all three have to live.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(self.running.is_running().unwrap(), "{what}: {}", self.running.log());
            assert!(self.monitor.is_running().unwrap(), "{what}: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}: {:?}\n{}", self.health(), self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{what}: after {:.1} s", begun.elapsed().as_secs_f64());
    }

    fn log(&self) -> String {
        let folder = self.folder.path();
        let files = MonitorFiles { folder, kafka: "", prefix: PREFIX, rules: "" };
        format!("worker:\n{}\nmonitor:\n{}\nadas:\n{}", self.running.log(), files.log(), self.adas.log())
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        self.read.lock().unwrap().counts.clone()
    }

    /// Waits until all three are well, and each camera's records are read that were not before.
    async fn until_well(&mut self, when: &str) {
        let before = self.counts();
        let count = |counts: &BTreeMap<String, u64>, id: &str| counts.get(id).copied().unwrap_or(0);
        self.until(&format!("{when}, records flow"), |site| {
            let now = site.counts();
            CAMERAS.iter().all(|id| count(&now, id) > count(&before, id) + 10)
        })
        .await;
        self.until(&format!("{when}, all are well"), |site| site.health().iter().all(|(_, well, _)| *well))
            .await;
        let heard = |site: &Self| {
            [
                site.monitor.number("lookout_monitor_records_total"),
                site.adas.number("lookout_adas_records_total"),
            ]
        };
        let before = heard(self);
        self.until(&format!("{when}, monitor and adas read"), |site| {
            heard(site).iter().zip(before).all(|(now, before)| *now > before)
        })
        .await;
    }

    /// Waits until all three say that they are not well.
    async fn until_told(&mut self, what: &str) {
        self.until(&format!("{what} is told by all"), |site| site.health().iter().all(|(_, well, _)| !*well))
            .await;
        println!("{:?}", self.health());
    }

    async fn rights_are_taken_away_and_given_back(&mut self) {
        let all = [Resource::Topics(PREFIX), Resource::Groups("lookout")];
        for resource in all {
            kafka_acls::add(&first(&self.inner), &right(resource, Permission::Deny)).unwrap();
        }
        self.until_told("that rights are missing").await;
        // The simulated duration of the fault, in which no process may give up.
        tokio::time::sleep(Duration::from_secs(15)).await;
        for resource in all {
            kafka_acls::remove(&first(&self.inner), &right(resource, Permission::Deny)).unwrap();
        }
        self.until_well("with the rights").await;
    }

    /// The brokers have a new password before the file does.
    async fn the_password_is_rotated(&mut self) {
        for node in &mut self.kafka.nodes {
            node.stop().unwrap();
            node.set_users(&[(USER, "rotated")]);
            node.restart().unwrap();
        }
        self.until_told("the other password").await;
        fs::write(self.folder.path().join("password"), "rotated\n").unwrap();
        self.until_well("with the new password").await;
    }

    async fn nodes_restart_and_move(&mut self) {
        for node in 0..3 {
            self.kafka.nodes[node].stop().unwrap();
            // The simulated time that a node takes to move.
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.kafka.nodes[node].move_away().unwrap();
            self.kafka.nodes[node].restart().unwrap();
            self.until_well(&format!("with node {node} at another address")).await;
        }
    }

    async fn partitions_have_no_leader(&mut self) {
        let hear = |site: &Self| site.health().iter().filter(|(_, well, _)| !*well).count();
        self.kafka.nodes[1].kill();
        self.until("partitions without a leader are told", |site| hear(site) >= 1).await;
        println!("{:?}", self.health());
        self.kafka.nodes[1].restart().unwrap();
        self.until_well("with all leaders").await;
    }

    async fn the_topic_is_recreated(&mut self) {
        let topic = format!("{PREFIX}.frames.v1");
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.inner).create().unwrap();
        admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
        let new = NewTopic::new(&topic, 3, TopicReplication::Fixed(1));
        let begun = Instant::now();
        // A topic that was deleted is gone a moment later; or the worker has created it again.
        loop {
            let results = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
            match &results[0] {
                Ok(_) => break,
                Err((_, code))
                    if format!("{code:?}") == "TopicAlreadyExists" && begun.elapsed().as_secs() > 5 =>
                {
                    break;
                }
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.until_well("with another topic").await;
    }
}

fn first(servers: &str) -> String {
    servers.split(',').next().unwrap_or_default().to_owned()
}

fn right(resource: Resource<'_>, permission: Permission) -> Right<'_> {
    Right { user: USER, resource, operation: Operation::All, permission }
}

async fn follow(settings: KafkaSettings, read: Arc<Mutex<Read>>) {
    let options = ReaderOptions {
        from: ReadFrom::Beginning,
        kinds: vec![RecordKind::Frame],
        missing: Missing::Wait,
        refused: Refused::Wait,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(&settings, &options).await.unwrap();
    while let Ok(Some(placed)) = reader.next_with_offset().await {
        read.lock().unwrap().take(&placed.record);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_passes_ends_a_process_or_costs_a_record_or_the_order() {
    let _module = lock_module(module_path!());
    let mut site = Site::start().await;
    site.until_well("at the beginning").await;
    site.nodes_restart_and_move().await;
    site.rights_are_taken_away_and_given_back().await;
    site.the_password_is_rotated().await;
    site.partitions_have_no_leader().await;
    {
        let read = site.read.lock().unwrap();
        assert!(read.disorder.is_empty() && read.missing.is_empty(), "{read:?}\n{}", site.log());
    }
    // What the topic held that is deleted is gone, and no more.
    site.the_topic_is_recreated().await;
    site.running.signal("INT").unwrap();
    let Site { running, monitor, adas, read, .. } = site;
    let ended = running.finish(PATIENCE).unwrap();
    ended.summary.check().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for (id, camera) in &ended.summary.cameras {
        println!("{id}: {camera:?}");
        assert_eq!(camera.delivered, camera.published, "{id}: {camera:?}");
    }
    assert_eq!(monitor.stop(PATIENCE).unwrap(), Some(0));
    assert_eq!(adas.stop(PATIENCE).unwrap(), Some(0));
    assert!(read.lock().unwrap().disorder.is_empty(), "{:?}", read.lock().unwrap().disorder);
}
