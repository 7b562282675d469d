//! A real Apache Kafka of one node for a test: started, killed, and started again.

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

/// A Kafka on a port of 127.0.0.1. Its process and its data go with this guard.
#[derive(Debug)]
pub struct KafkaServer {
    dir: TempDir,
    port: u16,
    /// Broker settings, `key=value`.
    overrides: Vec<String>,
    /// By which clients reach it; see `[kafka.client]`.
    client: Vec<(String, Secret)>,
    inner: Option<String>,
    process: Option<Child>,
}

/// How long a JVM may take to bring Kafka up on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

impl KafkaServer {
    /// Fetches Kafka if need be, and starts it. Blocks until it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(&[], &[])
    }

    /// Starts it with settings of its own, `key=value`, which clients reach by `client`.
    pub fn start_with(overrides: &[&str], client: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::formatted(overrides, client)?;
        server.restart()?;
        Ok(server)
    }

    fn formatted(overrides: &[&str], client: &[(&str, &str)]) -> Result<Self> {
        let server = Self {
            dir: TempDir::new().context("no folder for Kafka's data")?,
            port: free_port()?,
            overrides: overrides.iter().map(|setting| (*setting).into()).collect(),
            client: client.iter().map(|(key, value)| ((*key).into(), Secret::new(*value))).collect(),
            inner: None,
            process: None,
        };
        run(script().arg("install"))?;
        run(script().arg("format").arg(server.data()).arg(server.port.to_string()))?;
        Ok(server)
    }

    /// Starts it with a second listener on `address`, which is advertised to those who come by it: the inner one of
    /// docker-compose.yml, where the usual one is the outer.
    pub fn start_with_inner(address: Ipv4Addr) -> Result<Self> {
        let mut server = Self::formatted(&[], &[])?;
        let inner = format!("INNER://{address}:{}", free_port()?);
        let properties = fs::read_to_string(server.data().join("server.properties"))?;
        for (key, more) in [
            ("listeners", inner.as_str()),
            ("advertised.listeners", &inner),
            ("listener.security.protocol.map", "INNER:PLAINTEXT"),
        ] {
            let line = properties.lines().find(|line| line.starts_with(&format!("{key}=")));
            server.overrides.push(format!("{},{more}", line.with_context(|| format!("no {key}"))?));
        }
        server.inner = inner.strip_prefix("INNER://").map(Into::into);
        server.restart()?;
        Ok(server)
    }

    /// `host:port` of the inner listener.
    pub fn inner(&self) -> Option<String> {
        self.inner.clone()
    }

    /// Starts it again after [`KafkaServer::kill`], on the same port and with the data it had.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_unchecked()?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("Kafka ended with {status}:\n{}", self.words());
            }
            if Instant::now() > deadline {
                bail!("Kafka is not ready after {READY_WITHIN:?}:\n{}", self.words());
            }
            let found = check(&self.settings("ready"), Duration::from_millis(500))?;
            if found.problem.is_none() && !found.brokers.is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again without waiting until its clients are served, which it may be set to refuse.
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
        // From here on the drop kills it.
        self.process = Some(child);
        Ok(())
    }

    /// Sets a broker setting, `key=value`, from its next start on.
    pub fn set(&mut self, setting: &str) {
        let key = setting.split_once('=').map_or(setting, |(key, _)| key).to_owned();
        self.overrides.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != key));
        self.overrides.push(setting.into());
    }

    /// Kills it as a power cut would, by SIGKILL.
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

    /// Settings that reach it, for topics under `prefix`.
    ///
    /// # Panics
    /// `prefix` is no topic prefix.
    pub fn settings(&self, prefix: &str) -> KafkaSettings {
        #[expect(clippy::expect_used, reason = "the prefix is written in the test that asks")]
        let topics = Topics::new(prefix).expect("a topic prefix");
        KafkaSettings {
            brokers: Brokers::Servers(self.bootstrap()),
            topics,
            format: RecordFormat::default(),
            partitions: 3,
            replication: 1,
            buffer_records: const { std::num::NonZeroUsize::new(10_000).unwrap() },
            client: self.client.clone(),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("kafka")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// The end of what it has said.
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

/// Ports that this process has drawn.
static DRAWN: AtomicU16 = AtomicU16::new(0);

/// A port that is free, and stays so while the broker is down: below those that the kernel gives to
/// outgoing connections, drawn once, and by processes that run at once from different places on.
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
