//! The processes that an evaluation starts. Each has a guard that kills it when it is dropped.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use lookout_args::{EvalArgs, NetworkArgs};
use serde::Deserialize;
use serde_json::Value;

use crate::sibling;

/// Threshold for the precision-recall curves. It is low, so that almost all detections are evaluated.
const SCORE_THRESHOLD: f32 = 0.05;
/// Maximum number of detections per frame, as in the COCO metrics.
const MAX_DETECTIONS: usize = 100;

/// A process that is killed when this guard is dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> Command {
    let mut command = sibling::command(name);
    command.stdin(Stdio::null());
    command
}

/// The process of `lookout sim serve`.
pub(super) struct Farm {
    _running: Running,
    uris: Vec<String>,
}

impl Farm {
    /// Renders the clips and serves them. Writes the raw frames to `frames` in `folder`, and continuously
    /// appends the ground truth to `truth.jsonl`.
    pub(super) fn start(args: &EvalArgs, folder: &Path) -> anyhow::Result<Self> {
        let farm = &args.farm;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let count = farm.cameras.to_string();
        let mut child = program("lookout-sim")
            .args(["sim", "serve", "--cameras", &count, "--clips", &count, "--listen", &port.to_string()])
            .args(["--fps", &farm.fps.to_string(), "--seconds", &farm.seconds.to_string()])
            .args(["--seed", &farm.seed.to_string()])
            .arg("--ground-truth")
            .arg(folder.join("truth.jsonl"))
            .arg("--frames")
            .arg(folder.join("frames"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start lookout-sim")?;
        let out = child.stdout.take();
        let running = Running(child);
        let lines = out.into_iter().flat_map(|out| BufReader::new(out).lines());
        let uris: Vec<String> = lines.take(usize::from(farm.cameras)).collect::<Result<_, _>>()?;
        if uris.len() != usize::from(farm.cameras) {
            bail!("the simulated cameras did not start; run `lookout sim serve` to see the reason");
        }
        Ok(Self { _running: running, uris })
    }

    pub(super) fn cameras(&self) -> usize {
        self.uris.len()
    }
}

/// Metrics of the detector on the raw frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnRaw {
    pub(super) ap: Option<f64>,
    pub(super) ap50: Option<f64>,
}

/// Runs `lookout eval --data` on the raw frames.
pub(super) fn on_raw_frames(args: &EvalArgs, frames: &Path) -> anyhow::Result<OnRaw> {
    let NetworkArgs { arch, weights, output_kind: _, device, threads } = &args.network;
    let mut command = program("lookout-lab");
    command.args(["eval", "--json", "--arch", arch, "--weights", weights, "--device", device]);
    command.args(["--precision", &args.precision, "--data", &format!("coco:{}", frames.display())]);
    if let Some(threads) = threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if let Some(labels) = &args.labels {
        command.arg("--labels").arg(labels);
    }
    if let Some(input) = &args.input {
        command.args(["--input", input]);
    }
    let done = command.stderr(Stdio::piped()).output().context("cannot start lookout-lab")?;
    if !done.status.success() {
        bail!("{}", String::from_utf8_lossy(&done.stderr).trim());
    }
    let report: Value =
        serde_json::from_slice(&done.stdout).context("cannot parse the output of lookout-lab")?;
    let number = |name: &str| report["coco"][name].as_f64();
    Ok(OnRaw { ap: number("ap"), ap50: number("ap50") })
}

/// The process of `lookout run`.
pub(super) struct Worker {
    running: Running,
}

/// The fields of the worker's summary that the report uses.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct WorkerSummary {
    pub(super) cameras: BTreeMap<String, CameraSummary>,
}

/// The ledger of a camera.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CameraSummary {
    pub(super) received: u64,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) dropped: BTreeMap<String, u64>,
}

impl Worker {
    pub(super) fn start(args: &EvalArgs, farm: &Farm, brokers: &str, folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("pipeline.toml");
        fs::write(&file, pipeline(args, farm, brokers)?)?;
        let child = program("lookout-worker")
            .args(["run", "--summary", "json"])
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start lookout-worker")?;
        Ok(Self { running: Running(child) })
    }

    /// Returns whether the worker has exited on its own, which is an error.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.running.0.try_wait(), Ok(None))
    }

    /// Stops the worker, which drains, and returns its summary.
    pub(super) fn stop(mut self) -> anyhow::Result<WorkerSummary> {
        let child = &mut self.running.0;
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).context("cannot stop the worker")?;
        let mut output = String::new();
        if let Some(out) = &mut child.stdout {
            out.read_to_string(&mut output)?;
        }
        let line = output.lines().last().context("the worker exited without a summary")?;
        serde_json::from_str(line).context("cannot parse the worker's summary")
    }
}

/// Returns the text of a pipeline file for the simulated cameras. Relative paths are resolved from the
/// current folder.
fn pipeline(args: &EvalArgs, farm: &Farm, brokers: &str) -> anyhow::Result<String> {
    let here = |path: &Path| std::path::absolute(path);
    let weights = match Path::new(&args.network.weights) {
        path if path.is_file() => here(path)?.display().to_string(),
        _ => args.network.weights.clone(),
    };
    let mut model = toml::Table::new();
    let mut set = |key: &str, value: toml::Value| drop(model.insert(key.into(), value));
    set("arch", args.network.arch.clone().into());
    set("weights", weights.into());
    set("device", args.network.device.clone().into());
    set("precision", args.precision.clone().into());
    set("score_threshold", f64::from(SCORE_THRESHOLD).into());
    set("max_detections", (MAX_DETECTIONS as i64).into());
    if let Some(input) = &args.input {
        set("input", input.clone().into());
    }
    if let Some(threads) = args.network.threads {
        set("threads", i64::try_from(threads)?.into());
    }
    if let Some(labels) = args.labels.as_deref().map(here).transpose()? {
        set("labels", labels.display().to_string().into());
    }
    let cameras: Vec<toml::Value> = (1..)
        .zip(&farm.uris)
        .map(|(n, uri)| toml::toml! { id = (format!("camera-{n}")) uri = (uri.clone()) }.into())
        .collect();
    let mut all = toml::Table::new();
    all.insert("name".into(), "end-to-end".into());
    all.insert("model".into(), model.into());
    all.insert("kafka".into(), toml::toml! { brokers = (brokers.to_owned()) }.into());
    all.insert("worker".into(), toml::toml! { http = "127.0.0.1:0" }.into());
    all.insert("camera".into(), cameras.into());
    Ok(all.to_string())
}
