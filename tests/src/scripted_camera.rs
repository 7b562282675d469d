//! An RTSP camera with scripted faults: `tests/rtsp/camera.py`.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::video::write_h264;

/// A camera that runs until it is dropped.
#[derive(Debug)]
pub struct ScriptedCamera {
    process: Child,
    address: Ipv4Addr,
    port: u16,
    folder: TempDir,
    scheme: &'static str,
}

impl ScriptedCamera {
    /// Starts a camera on a free port; `--help` of the script describes `options`.
    pub fn start(options: &str) -> anyhow::Result<Self> {
        Self::launch(options.split_whitespace(), None)
    }

    /// Starts a camera that serves `rtsps://` only, with the key and certificate in `file`.
    pub fn start_tls(options: &str, file: &Path) -> anyhow::Result<Self> {
        Self::launch(options.split_whitespace(), Some(file))
    }

    /// Starts a camera with this password, which may contain any character.
    pub fn start_with_password(options: &str, password: &str) -> anyhow::Result<Self> {
        Self::launch(options.split_whitespace().chain(["--password", password]), None)
    }

    /// Starts a camera at an address of the local host.
    pub fn start_at(address: Ipv4Addr, options: &str) -> anyhow::Result<Self> {
        let text = address.to_string();
        let mut camera = Self::launch(options.split_whitespace().chain(["--address", &text]), None)?;
        camera.address = address;
        Ok(camera)
    }

    fn launch<'o>(options: impl Iterator<Item = &'o str>, tls: Option<&Path>) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rtsp/camera.py");
        let mut command = Command::new("python3");
        command.arg(script).arg("--video").arg(video()?).arg("--log").arg(folder.path().join("log"));
        if let Some(file) = tls {
            command.arg("--tls").arg(file);
        }
        let mut process = command.args(options).stdout(Stdio::piped()).spawn().context("python3")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.strip_prefix("ready ").and_then(|port| port.trim().parse().ok());
        let port = port.with_context(|| format!("the camera did not start: {line:?}"))?;
        let scheme = if tls.is_some() { "rtsps" } else { "rtsp" };
        Ok(Self { process, address: Ipv4Addr::LOCALHOST, port, folder, scheme })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the camera's address with `login`, such as `admin:secret@`, which may be empty.
    pub fn uri(&self, login: &str) -> String {
        format!("{}://{login}{}:{}/cam", self.scheme, self.address, self.port)
    }

    /// Returns the events logged so far, oldest first.
    pub fn log(&self) -> anyhow::Result<Vec<Value>> {
        let text = fs::read_to_string(self.folder.path().join("log"))?;
        // The last line may be incomplete.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Returns the number of `event`s in the log.
    pub fn count(&self, event: &str) -> anyhow::Result<usize> {
        Ok(self.log()?.iter().filter(|entry| entry["event"] == event).count())
    }

    /// Returns the number of requests that came with a login.
    pub fn logins(&self) -> anyhow::Result<usize> {
        let log = self.log()?;
        Ok(log.iter().filter(|entry| entry["headers"]["authorization"].is_string()).count())
    }

    /// Returns the methods of the requests that came during playback.
    pub fn keep_alives(&self) -> anyhow::Result<Vec<String>> {
        let log = self.log()?;
        let methods =
            log.iter().filter(|entry| entry["playing"] == true).filter_map(|entry| entry["method"].as_str());
        Ok(methods.filter(|method| *method != "TEARDOWN").map(str::to_owned).collect())
    }
}

impl Drop for ScriptedCamera {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Four seconds of H.264, generated once per process.
fn video() -> anyhow::Result<PathBuf> {
    static FOLDER: OnceLock<Result<TempDir, String>> = OnceLock::new();
    let made = FOLDER.get_or_init(|| {
        let make = || {
            let folder = TempDir::new()?;
            write_h264(&folder.path().join("video.h264"), 100, 25)?;
            anyhow::Ok(folder)
        };
        make().map_err(|error| format!("{error:#}"))
    });
    let folder = made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let path = folder.path().join("video.h264");
    ensure!(path.exists(), "{} is gone", path.display());
    Ok(path)
}
