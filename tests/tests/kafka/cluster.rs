//! A worker, a monitor and an adas process on a Kafka of three nodes, during operations on the cluster.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the test prints how long each step took")]

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lookout_broker::{OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions, RecordReader, Refused};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{CameraId, RecordKind, SessionId};
use lookout_tests::{
    adas::Adas,
    isolation::lock_program,
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

/// Only a guard against an endless wait.
const PATIENCE: Duration = Duration::from_secs(600);
const PREFIX: &str = "site";
const CAMERAS: [&str; 2] = ["file", "live"];
const USER: &str = "edge";
const PASSWORD: &str = "edge-secret";

/// The records seen by a consumer with all permissions.
#[derive(Debug, Default)]
struct Read {
    /// Number of records per camera.
    counts: BTreeMap<String, u64>,
    /// The last sequence number per session.
    last: BTreeMap<(CameraId, SessionId), u64>,
    /// Records that came after later ones of their camera, or twice.
    disorder: Vec<String>,
    /// Records of the file that are missing.
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
    /// `host:port` of the listeners without restrictions.
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
        // Each topic has one replica, so that partitions have no leader while a node is down.
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

    /// Returns the health of the three programs: name, whether it is healthy, and its text.
    fn health(&self) -> [(&'static str, bool, String); 3] {
        let none = || (false, String::from("no answer"));
        let ready = self.running.page("/readyz").map(|(code, body)| (code == 200, body));
        [
            ("worker", ready.unwrap_or_else(none)),
            ("monitor", self.monitor.health().unwrap_or_else(none)),
            ("adas", self.adas.health().unwrap_or_else(none)),
        ]
        .map(|(name, (is_well, text))| (name, is_well, text))
    }

    /// Waits until `done`, while all three programs run.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(self.running.is_running().unwrap(), "{what}: {}", self.running.log());
            assert!(self.monitor.is_running().unwrap(), "{what}: {}", self.log());
            assert!(started.elapsed() < PATIENCE, "not in time: {what}: {:?}\n{}", self.health(), self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{what}: after {:.1} s", started.elapsed().as_secs_f64());
    }

    fn log(&self) -> String {
        let folder = self.folder.path();
        let files = MonitorFiles { folder, kafka: "", prefix: PREFIX, rules: "" };
        format!("worker:\n{}\nmonitor:\n{}\nadas:\n{}", self.running.log(), files.log(), self.adas.log())
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        self.read.lock().unwrap().counts.clone()
    }

    /// Waits until all three programs are healthy and each camera's records flow again.
    async fn until_healthy(&mut self, when: &str) {
        let before = self.counts();
        let count = |counts: &BTreeMap<String, u64>, id: &str| counts.get(id).copied().unwrap_or(0);
        self.until(&format!("{when}, records flow"), |site| {
            let now = site.counts();
            CAMERAS.iter().all(|id| count(&now, id) > count(&before, id) + 10)
        })
        .await;
        self.until(&format!("{when}, all are healthy"), |site| {
            site.health().iter().all(|(_, well, _)| *well)
        })
        .await;
        let records_read = |site: &Self| {
            [
                site.monitor.number("lookout_monitor_records_total"),
                site.adas.number("lookout_adas_records_total"),
            ]
        };
        let before = records_read(self);
        self.until(&format!("{when}, monitor and adas read"), |site| {
            records_read(site).iter().zip(before).all(|(now, before)| *now > before)
        })
        .await;
    }

    /// Waits until all three programs report that they are unhealthy.
    async fn until_unhealthy(&mut self, what: &str) {
        self.until(&format!("all report {what}"), |site| site.health().iter().all(|(_, well, _)| !*well))
            .await;
        println!("{:?}", self.health());
    }

    async fn permissions_are_revoked_and_granted(&mut self) {
        let all = [Resource::Topics(PREFIX), Resource::Groups("lookout")];
        for resource in all {
            kafka_acls::add(&first(&self.inner), &right(resource, Permission::Deny)).unwrap();
        }
        self.until_unhealthy("missing permissions").await;
        // The simulated duration of the fault, in which no process may give up.
        tokio::time::sleep(Duration::from_secs(15)).await;
        for resource in all {
            kafka_acls::remove(&first(&self.inner), &right(resource, Permission::Deny)).unwrap();
        }
        self.until_healthy("with the permissions").await;
    }

    /// The brokers change the password before the password file does.
    async fn password_is_rotated(&mut self) {
        for node in &mut self.kafka.nodes {
            node.stop().unwrap();
            node.set_users(&[(USER, "rotated")]);
            node.restart().unwrap();
        }
        self.until_unhealthy("the changed password").await;
        fs::write(self.folder.path().join("password"), "rotated\n").unwrap();
        self.until_healthy("with the new password").await;
    }

    async fn nodes_restart_at_other_addresses(&mut self) {
        for node in 0..3 {
            self.kafka.nodes[node].stop().unwrap();
            // The simulated time that a node takes to move.
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.kafka.nodes[node].move_away().unwrap();
            self.kafka.nodes[node].restart().unwrap();
            self.until_healthy(&format!("with node {node} at another address")).await;
        }
    }

    async fn partitions_lose_their_leader(&mut self) {
        let unhealthy = |site: &Self| site.health().iter().filter(|(_, well, _)| !*well).count();
        self.kafka.nodes[1].kill();
        self.until("partitions without a leader are reported", |site| unhealthy(site) >= 1).await;
        println!("{:?}", self.health());
        self.kafka.nodes[1].restart().unwrap();
        self.until_healthy("with all leaders").await;
    }

    async fn topic_is_recreated(&mut self) {
        let topic = format!("{PREFIX}.frames.v1");
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.inner).create().unwrap();
        admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
        let new = NewTopic::new(&topic, 3, TopicReplication::Fixed(1));
        let started = Instant::now();
        // A deleted topic disappears a moment later, unless the worker has created it again.
        loop {
            let results = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
            match &results[0] {
                Ok(_) => break,
                Err((_, code))
                    if format!("{code:?}") == "TopicAlreadyExists" && started.elapsed().as_secs() > 5 =>
                {
                    break;
                }
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.until_healthy("with the recreated topic").await;
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
        missing: OnMissingTopic::Wait,
        refused: Refused::Wait,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(&settings, &options).await.unwrap();
    while let Ok(Some(placed)) = reader.next_with_offset().await {
        read.lock().unwrap().take(&placed.record);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_is_lost_or_reordered_by_operations_on_the_cluster() {
    let _module = lock_program(module_path!());
    let mut site = Site::start().await;
    site.until_healthy("at the start").await;
    site.nodes_restart_at_other_addresses().await;
    site.permissions_are_revoked_and_granted().await;
    site.password_is_rotated().await;
    site.partitions_lose_their_leader().await;
    {
        let read = site.read.lock().unwrap();
        assert!(read.disorder.is_empty() && read.missing.is_empty(), "{read:?}\n{}", site.log());
    }
    // Only the records of the deleted topic are lost.
    site.topic_is_recreated().await;
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
