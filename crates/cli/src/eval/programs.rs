//! The programs that an evaluation starts, which end with their guards.

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

/// What is measured of precision over recall: nearly everything that the network says, and no more than 100 a frame.
const SCORE_THRESHOLD: f32 = 0.05;
const MOST_DETECTIONS: usize = 100;

/// A program that is killed when nobody waits for it any more.
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

/// `lookout sim serve`.
pub(super) struct Farm {
    _running: Running,
    uris: Vec<String>,
}

impl Farm {
    /// Draws the clips, and serves them. In `folder` are then `frames`, and `truth.jsonl` as it goes.
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

/// What a detector finds in the frames as they were drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnRaw {
    pub(super) ap: Option<f64>,
    pub(super) ap50: Option<f64>,
}

/// `lookout eval --data` on the frames.
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

/// `lookout run`.
pub(super) struct Worker {
    running: Running,
}

/// What it says at its end, as far as it is of use here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct WorkerSummary {
    pub(super) cameras: BTreeMap<String, CameraSummary>,
}

/// What became of a camera's frames.
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

    /// Whether it has ended by itself, which it should not.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.running.0.try_wait(), Ok(None))
    }

    /// Has it drain and end.
    pub(super) fn stop(mut self) -> anyhow::Result<WorkerSummary> {
        let child = &mut self.running.0;
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).context("cannot stop the worker")?;
        let mut said = String::new();
        if let Some(out) = &mut child.stdout {
            out.read_to_string(&mut said)?;
        }
        let line = said.lines().last().context("the worker exited without a summary")?;
        serde_json::from_str(line).context("cannot parse the worker's summary")
    }
}

/// A pipeline file for the farm's cameras, with the paths as they are seen from here.
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
    set("max_detections", (MOST_DETECTIONS as i64).into());
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
