//! A real Apache Kafka for tests, of one node or three, which can be killed and restarted.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lookout_broker::check;
use lookout_config::{Brokers, KafkaSettings, Secret};
use lookout_schema::{RecordFormat, Topics};
use tempfile::TempDir;

/// A Kafka on a port of 127.0.0.1. When it is dropped, its process is killed and its data is removed.
#[derive(Debug)]
pub struct KafkaServer {
    dir: TempDir,
    port: u16,
    /// Broker settings, `key=value`.
    overrides: Vec<String>,
    /// The settings with which clients connect to it; see `[kafka.client]`.
    client: Vec<(String, Secret)>,
    inner: Option<String>,
    process: Option<Child>,
}

/// How long a JVM may take to bring Kafka up on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(600);

impl KafkaServer {
    /// Fetches Kafka if it is not cached, and starts it. Blocks until it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(&[], &[])
    }

    /// Starts it with broker settings, `key=value`, and the settings with which clients connect.
    pub fn start_with(overrides: &[&str], client: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::formatted(overrides, client)?;
        server.restart()?;
        Ok(server)
    }

    fn formatted(overrides: &[&str], client: &[(&str, &str)]) -> Result<Self> {
        Self::formatted_as(overrides, client, None)
    }

    /// `node` is its number and the controllers of its cluster.
    fn formatted_as(overrides: &[&str], client: &[(&str, &str)], node: Option<(u16, &str)>) -> Result<Self> {
        let server = Self {
            dir: TempDir::new().context("no folder for Kafka's data")?,
            port: free_port()?,
            overrides: overrides.iter().map(|setting| (*setting).into()).collect(),
            client: client.iter().map(|(key, value)| ((*key).into(), Secret::new(*value))).collect(),
            inner: None,
            process: None,
        };
        run(script().arg("install"))?;
        let mut format = script();
        format.arg("format").arg(server.data()).arg(server.port.to_string());
        if let Some((node, voters)) = node {
            format.arg(node.to_string()).arg(voters);
        }
        run(&mut format)?;
        Ok(server)
    }

    /// Starts it with a second listener on `address`, which is advertised to the clients that connect to it.
    /// It is the inner listener of docker-compose.yml, where the default listener is the outer one.
    pub fn start_with_inner(address: Ipv4Addr) -> Result<Self> {
        let mut server = Self::formatted(&[], &[])?;
        server.add_inner(address, "PLAINTEXT")?;
        server.restart()?;
        Ok(server)
    }

    /// Starts it with users, by name and password, who have no permissions yet; clients connect as the first
    /// user. Clients of the inner listener have all permissions, such as adding ACLs; see
    /// [`crate::kafka_acls`].
    pub fn start_with_rights(users: &[(&str, &str)], overrides: &[&str]) -> Result<Self> {
        let mut server = Self::formatted_with_rights(users, overrides, None)?;
        server.restart()?;
        Ok(server)
    }

    fn formatted_with_rights(
        users: &[(&str, &str)],
        overrides: &[&str],
        node: Option<(u16, &str)>,
    ) -> Result<Self> {
        let (user, password) = *users.first().context("no user")?;
        let client = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
        ];
        let mut server = Self::formatted_as(overrides, &client, node)?;
        server.add_inner(Ipv4Addr::LOCALHOST, "SASL_PLAINTEXT")?;
        server.overrides.extend([
            "sasl.enabled.mechanisms=PLAIN".into(),
            "sasl.mechanism.inter.broker.protocol=PLAIN".into(),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".into(),
            "super.users=User:admin;User:ANONYMOUS".into(),
        ]);
        server.set_users(users);
        Ok(server)
    }

    /// Sets the users and their passwords from its next start on. Client settings that were created before
    /// keep the previous passwords.
    pub fn set_users(&mut self, users: &[(&str, &str)]) {
        const KEY: &str = "listener.name.plaintext.plain.sasl.jaas.config=";
        let users: String =
            users.iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
        self.overrides.retain(|setting| !setting.starts_with(KEY));
        self.overrides.push(format!(
            "{KEY}org.apache.kafka.common.security.plain.PlainLoginModule required \
             username=\"admin\" password=\"admin-secret\" user_admin=\"admin-secret\"{users};"
        ));
    }

    /// Starts it with TLS, with a PEM file of its key and certificate. The inner listener has no TLS. If
    /// `clients`, clients must present a certificate that is signed by `authority`.
    pub fn start_with_tls(certificate: &Path, authority: &Path, clients: bool) -> Result<Self> {
        let mut server = Self::formatted(&["inter.broker.listener.name=INNER"], &[])?;
        server.add_inner(Ipv4Addr::LOCALHOST, "SSL")?;
        server.use_certificate(certificate, authority, clients)?;
        Ok(server)
    }

    /// Restarts it with another certificate; see [`KafkaServer::start_with_tls`].
    pub fn use_certificate(&mut self, certificate: &Path, authority: &Path, clients: bool) -> Result<()> {
        self.kill();
        self.overrides.retain(|setting| !setting.starts_with("ssl."));
        self.overrides.extend([
            "ssl.keystore.type=PEM".into(),
            format!("ssl.keystore.location={}", certificate.display()),
            "ssl.truststore.type=PEM".into(),
            format!("ssl.truststore.location={}", authority.display()),
            format!("ssl.client.auth={}", if clients { "required" } else { "none" }),
        ]);
        self.restart()
    }

    /// Starts it so that it advertises `address` to clients.
    pub fn start_advertised(address: &str) -> Result<Self> {
        let mut server = Self::formatted(&[], &[])?;
        server.add_inner(Ipv4Addr::LOCALHOST, "PLAINTEXT")?;
        let inner = server.inner.clone().context("no inner listener")?;
        server.overrides.retain(|setting| !setting.starts_with("advertised.listeners="));
        server.overrides.push(format!("advertised.listeners=PLAINTEXT://{address},INNER://{inner}"));
        server.overrides.push("inter.broker.listener.name=INNER".into());
        server.restart()?;
        Ok(server)
    }

    /// Adds the inner listener; `outer` is the protocol of the default listener.
    fn add_inner(&mut self, address: Ipv4Addr, outer: &str) -> Result<()> {
        let inner = format!("INNER://{address}:{}", free_port()?);
        let properties = fs::read_to_string(self.data().join("server.properties"))?;
        for (key, more) in [("listeners", &inner), ("advertised.listeners", &inner)] {
            let line = properties.lines().find(|line| line.starts_with(&format!("{key}=")));
            self.overrides.push(format!("{},{more}", line.with_context(|| format!("no {key}"))?));
        }
        self.overrides.push(format!(
            "listener.security.protocol.map=PLAINTEXT:{outer},CONTROLLER:PLAINTEXT,INNER:PLAINTEXT"
        ));
        self.inner = inner.strip_prefix("INNER://").map(Into::into);
        Ok(())
    }

    /// Stops it gracefully with SIGTERM, as an operator would.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.process.take() else { return Ok(()) };
        run(Command::new("kill").arg(child.id().to_string()))?;
        child.wait().context("Kafka did not end")?;
        Ok(())
    }

    /// Moves it to another port, on which it listens and which it advertises from its next start on.
    pub fn move_away(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "Kafka is running");
        let (old, new) = (format!("127.0.0.1:{}", self.port), free_port()?);
        let path = self.data().join("server.properties");
        let properties = fs::read_to_string(&path)?;
        let moved = |text: &str| text.replace(&old, &format!("127.0.0.1:{new}"));
        fs::write(&path, moved(&properties))?;
        self.overrides = self.overrides.iter().map(|setting| moved(setting)).collect();
        self.port = new;
        Ok(())
    }

    /// Returns `host:port` of the inner listener.
    pub fn inner(&self) -> Option<String> {
        self.inner.clone()
    }

    /// Starts it again after [`KafkaServer::kill`], on the same port and with the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_unchecked()?;
        self.wait()
    }

    /// Waits until it answers.
    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("Kafka ended with {status}:\n{}", self.words());
            }
            if Instant::now() > deadline {
                bail!("Kafka is not ready after {READY_WITHIN:?}:\n{}", self.words());
            }
            let mut settings = self.settings("ready");
            if let Some(inner) = &self.inner {
                settings.brokers = Brokers::Servers(inner.clone());
                settings.client.clear();
            }
            let found = check(&settings, Duration::from_millis(500))?;
            if found.problem.is_none() && !found.brokers.is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again without waiting for an answer, because its settings may be such that it refuses
    /// clients.
    pub fn restart_unchecked(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "Kafka is running");
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = script()
            .arg("start")
            .arg(self.data())
            .arg(self.port.to_string())
            .args(&self.overrides)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("Kafka could not be started")?;
        // From here on, `drop` kills it.
        self.process = Some(child);
        Ok(())
    }

    /// Sets a broker setting, `key=value`, from its next start on.
    pub fn set(&mut self, setting: &str) {
        let key = setting.split_once('=').map_or(setting, |(key, _)| key).to_owned();
        self.overrides.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != key));
        self.overrides.push(setting.into());
    }

    /// Kills it with SIGKILL, as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `host:port`
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns settings that connect to it, for topics with `prefix`.
    ///
    /// # Panics
    /// If `prefix` is not a valid topic prefix.
    pub fn settings(&self, prefix: &str) -> KafkaSettings {
        #[expect(clippy::expect_used, reason = "the prefix is a literal in the calling test")]
        let topics = Topics::new(prefix).expect("a topic prefix");
        KafkaSettings {
            brokers: Brokers::Servers(self.bootstrap()),
            topics,
            format: RecordFormat::default(),
            partitions: 3,
            replication: 1,
            buffer_records: const { std::num::NonZeroUsize::new(10_000).unwrap() },
            password_file: None,
            client: self.client.clone(),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("kafka")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Returns the end of its log.
    fn words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn script() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut command = Command::new(root.join("scripts/kafka.sh"));
    command.current_dir(root);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Number of ports that this process has drawn.
static DRAWN: AtomicU16 = AtomicU16::new(0);

/// Returns a port that is free, and stays free while the broker is down: below the range of ephemeral ports,
/// never drawn twice, and in concurrent processes from different start values on.
fn free_port() -> Result<u16> {
    let first = (std::process::id() % 1000) as u16;
    for _ in 0..1000 {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (first * 10 + drawn) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free TCP port between 10000 and 20000")
}

/// A cluster of three nodes, each a broker and a controller, with users and ACLs; see
/// [`KafkaServer::start_with_rights`]. Topics have a replication factor of 3, and two replicas must be in
/// sync.
#[derive(Debug)]
pub struct KafkaCluster {
    pub nodes: Vec<KafkaServer>,
}

impl KafkaCluster {
    pub fn start(users: &[(&str, &str)], overrides: &[&str]) -> Result<Self> {
        let controllers = [free_port()?, free_port()?, free_port()?];
        let voters: Vec<String> =
            (1..).zip(controllers).map(|(node, port)| format!("{node}@127.0.0.1:{port}")).collect();
        let voters = voters.join(",");
        let node = |node| KafkaServer::formatted_with_rights(users, overrides, Some((node, &voters)));
        let mut cluster = Self { nodes: (1..=3).map(node).collect::<Result<_>>()? };
        // A node does not answer before most of them are up.
        cluster.nodes.iter_mut().try_for_each(KafkaServer::restart_unchecked)?;
        cluster.nodes.iter_mut().try_for_each(KafkaServer::wait)?;
        Ok(cluster)
    }

    /// Returns `host:port` of all nodes.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(KafkaServer::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// Returns [`KafkaServer::settings`] with a replication factor of 3.
    pub fn settings(&self, prefix: &str) -> Option<KafkaSettings> {
        let settings = self.nodes.first()?.settings(prefix);
        Some(KafkaSettings { brokers: Brokers::Servers(self.bootstrap()), replication: 3, ..settings })
    }
}
