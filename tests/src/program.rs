//! Runs the built programs as a user does.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{RecordFormat, Topics};
use serde::Deserialize;
use tempfile::TempDir;

/// Returns the path of `lookout`, as `make build` builds it.
///
/// # Errors
/// Fails if it is not built: `cargo test` alone does not build the programs, `make test` does.
pub fn lookout() -> Result<PathBuf> {
    // This test is in the folder `deps` of the folder with the programs.
    let test = env::current_exe()?;
    let folder = test.parent().and_then(|deps| deps.parent()).context("the test has no parent folder")?;
    let program = folder.join("lookout");
    ensure!(program.is_file(), "{} is not built; run `make build`", program.display());
    Ok(program)
}

/// Runs `lookout` with `args` to its end.
pub fn run(args: &[&str]) -> Result<Output> {
    let mut command = Command::new(lookout()?);
    command.args(args).stdin(Stdio::null()).env_remove("LOOKOUT_LOG");
    command.output().with_context(|| format!("lookout {args:?}"))
}

/// The output of `lookout run --summary json`, as documented.
#[derive(Debug, Deserialize)]
pub struct Summary {
    pub seconds: f64,
    pub fps: f64,
    pub cameras: BTreeMap<String, CameraSummary>,
    pub latency_ms: LatencyMs,
}

/// The summary of one camera.
#[derive(Debug, Deserialize)]
pub struct CameraSummary {
    pub received: u64,
    pub published: u64,
    pub delivered: u64,
    pub dropped: BTreeMap<String, u64>,
    pub expired: BTreeMap<String, u64>,
    pub status: String,
    #[serde(default)]
    pub processing: u64,
}

/// The summary of the records' ages.
#[derive(Debug, Deserialize)]
pub struct LatencyMs {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

impl Summary {
    /// Checks that every frame of every camera is accounted for.
    pub fn check(&self) -> Result<()> {
        for (id, camera) in &self.cameras {
            let dropped: u64 = camera.dropped.values().sum();
            let expired: u64 = camera.expired.values().sum();
            ensure!(camera.received == camera.processing + camera.published + dropped, "{id}: {camera:?}");
            ensure!(camera.published == camera.delivered + expired, "{id}: {camera:?}");
        }
        Ok(())
    }
}

/// A running `lookout run`; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    folder: TempDir,
    http: SocketAddr,
}

/// Returns settings for reading the records of an embedded broker at `address`.
///
/// # Panics
/// If `address` is not a valid address.
pub fn embedded(address: &str) -> KafkaSettings {
    #[expect(clippy::expect_used, reason = "the program under test printed the address")]
    let brokers = Brokers::servers(address).expect("an address");
    #[expect(clippy::expect_used, reason = "the prefix is the default one")]
    let topics = Topics::new("lookout").expect("a topic prefix");
    KafkaSettings {
        brokers,
        topics,
        format: RecordFormat::default(),
        partitions: 0,
        replication: 0,
        buffer_records: NonZeroUsize::MIN,
        password_file: None,
        client: Vec::new(),
    }
}

/// How a `lookout run` ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub summary: Summary,
    pub log: String,
}

/// The first lines of the tests' pipelines: a small network with a small input, because the network is not
/// what is tested.
const SMALL_MODEL: &str = "name = \"test\"\n[model]\narch = \"resnet18\"\nweights = \"random:0\"\n\
                           input = \"64x64\"\n";

/// A detector with random weights that finds objects at random.
pub const DETECTOR: &str = "name = \"test\"\n[model]\narch = \"retinanet_resnet50_fpn\"\n\
                            weights = \"random:7\"\ninput = \"192x128\"\nscore_threshold = 0.05\n";

impl Running {
    /// Starts a pipeline with a small network and these `lines` of TOML, of which the first belong to
    /// `[worker]`.
    pub fn start(lines: &str) -> Result<Self> {
        Self::start_with(SMALL_MODEL, lines)
    }

    /// Starts a pipeline with other first lines, up to `[model]`.
    pub fn start_with(model: &str, lines: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let http = free_address()?;
        let file = folder.path().join("pipeline.toml");
        fs::write(&file, format!("{model}[worker]\nid = \"w\"\nhttp = \"{http}\"\n{lines}\n"))?;
        let log = fs::File::create(folder.path().join("log"))?;
        let out = fs::File::create(folder.path().join("out"))?;
        let child = Command::new(lookout()?)
            .arg("run")
            .arg(&file)
            .args(["--summary", "json"])
            .env_remove("LOOKOUT_LOG")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, folder, http })
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns the address of its embedded broker, once it is logged.
    pub fn broker(&mut self, patience: Duration) -> Result<String> {
        self.until("the embedded broker's address", patience, |running| {
            let log = running.log();
            let line = log.lines().find_map(|line| line.strip_prefix("embedded broker at "))?;
            line.split_once(';').map(|(address, _)| address.to_owned())
        })
    }

    /// Waits until `found` returns a value.
    pub fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        found: impl Fn(&Self) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} before {what}:\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "not within {patience:?}: {what}:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the status code and the body of one of its pages; `None` without an answer.
    pub fn page(&self, path: &str) -> Option<(u16, String)> {
        page(self.http, path)
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status()?;
        ensure!(status.success(), "kill -{name}: {status}");
        Ok(())
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    pub fn finish(mut self, patience: Duration) -> Result<Ended> {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "it did not end within {patience:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        };
        let log = self.log();
        let out = fs::read_to_string(self.folder.path().join("out"))?;
        let summary = serde_json::from_str(&out).with_context(|| format!("{status}: {out:?}\n{log}"))?;
        Ok(Ended { code: status.code(), summary, log })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an address that is still free a moment later, unless another process takes it in between.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Returns the status code and the body of a page at `http`; `None` without an answer.
fn page(http: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(http).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A Kafka consumer program with an HTTP port; killed with SIGKILL when it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    child: Child,
    http: SocketAddr,
}

impl Serving {
    /// Starts `lookout NAME NAME.toml` in `folder`; the file has `[NAME]` with its `http`, then `lines`. Its
    /// output is appended to `log` in the folder.
    pub(crate) fn start(name: &str, folder: &Path, kafka: &str, lines: &str) -> Result<Self> {
        let http = free_address()?;
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, format!("[{name}]\nhttp = \"{http}\"\n{lines}"))?;
        let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
        let child = Command::new(lookout()?)
            .arg(name)
            .arg(&file)
            .args(["--brokers", kafka])
            .env("LOOKOUT_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child, http })
    }

    /// Returns whether it still runs.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Returns the body of one of its pages; `None` without an answer.
    pub(crate) fn page(&self, path: &str) -> Option<String> {
        page(self.http, path).map(|(_, body)| body)
    }

    /// Returns whether `/healthz` reports success, and its text; `None` without an answer.
    pub(crate) fn health(&self) -> Option<(bool, String)> {
        page(self.http, "/healthz").map(|(code, body)| (code == 200, body))
    }

    /// Returns a metric, summed over all labels; 0 if it is missing.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.page("/metrics").unwrap_or_default();
        let value = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit_once(' ')?.1.parse::<u64>().ok()
        };
        text.lines().filter_map(value).sum()
    }

    /// Stops it with a signal, as a user does, and returns its exit code.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<Option<i32>> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").arg("-TERM").arg(pid).status()?.success(), "kill -TERM");
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(Instant::now() < deadline, "it did not end within {patience:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
