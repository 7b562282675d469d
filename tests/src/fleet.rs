//! Workers that share the cameras of a registry, and the records they publish.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{FrameRecord, SessionId, StatusRecord, Timestamp, WorkerState, WorkerStatusRecord};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{netns::Machine, program::lookout};

/// A running `lookout run` of a fleet; killed when it is dropped.
#[derive(Debug)]
pub struct FleetWorker {
    pub id: String,
    child: Child,
    folder: TempDir,
}

impl FleetWorker {
    /// Starts a worker `id` on the Kafka and topics of `kafka`, with more `lines` within `[fleet]`.
    pub fn start(kafka: &str, prefix: &str, id: &str, lines: &str) -> Result<Self> {
        Self::start_on(None, kafka, prefix, id, lines)
    }

    /// Starts a worker in a network namespace of its own.
    pub fn start_on(
        machine: Option<&Machine>,
        kafka: &str,
        prefix: &str,
        id: &str,
        lines: &str,
    ) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = folder.path().join("pipeline.toml");
        // A small network, and a long queue time: the network is not what is tested.
        fs::write(
            &file,
            format!(
                "name = \"fleet\"\ncameras = \"registry\"\n[model]\narch = \"resnet18\"\nweights = \"random:0\"\n\
                 input = \"64x64\"\nthreads = 1\nstreams = 1\n[batch]\nmax_age_ms = 10000\n[kafka]\n\
                 brokers = \"{kafka}\"\ntopic_prefix = \"{prefix}\"\npartitions = 3\nreplication = 1\n[worker]\n\
                 id = \"{id}\"\nstatus_interval_ms = 500\n[fleet]\n{lines}\n"
            ),
        )?;
        let log = fs::File::create(folder.path().join("log"))?;
        let lookout = lookout()?;
        let mut command = machine.map_or_else(|| Command::new(&lookout), |m| m.command(&lookout));
        let child = command
            .arg("run")
            .arg(&file)
            .args(["--summary", "json"])
            .env_remove("LOOKOUT_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { id: id.into(), child, folder })
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name}: {status}");
        Ok(())
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

impl Drop for FleetWorker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `lookout cameras` with these arguments on a fleet's registry.
pub fn cameras(kafka: &str, prefix: &str, args: &[&str]) -> Result<()> {
    let all = [&["cameras"], args, &["--brokers", kafka, "--topic-prefix", prefix]].concat();
    let output = crate::program::run(&all)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Writes JSON lines for `lookout cameras import`.
pub fn write_cameras<'c>(
    file: &Path,
    cameras: impl Iterator<Item = (String, &'c str, &'c str)>,
) -> Result<()> {
    let line = |(id, uri, more)| format!("{{\"id\": \"{id}\", \"uri\": \"{uri}\"{more}}}\n");
    Ok(fs::write(file, cameras.map(line).collect::<String>())?)
}

/// A frame record, and when it was read.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub camera: String,
    pub worker: String,
    pub epoch: u64,
    pub session: SessionId,
    pub seq: u64,
    pub captured_at: Timestamp,
    pub published_at: Timestamp,
    pub dropped_before: u64,
}

/// Collects all records that a fleet publishes.
#[derive(Debug)]
pub struct Watch {
    all: Arc<Mutex<All>>,
    task: JoinHandle<()>,
}

/// The records read so far.
#[derive(Debug, Default)]
pub struct All {
    pub frames: Vec<Seen>,
    pub workers: BTreeMap<String, WorkerStatusRecord>,
    pub failed: BTreeMap<String, String>,
}

impl Watch {
    pub async fn open(kafka: &KafkaSettings) -> Result<Self> {
        let options = ReaderOptions { from: ReadFrom::Beginning, ..ReaderOptions::default() };
        let mut reader = RecordReader::open(kafka, &options).await?;
        let all = Arc::new(Mutex::new(All::default()));
        let into = Arc::clone(&all);
        let task = tokio::spawn(async move {
            while let Ok(Some(record)) = reader.next().await {
                let mut all = into.lock().unwrap_or_else(PoisonError::into_inner);
                match record {
                    ReadRecord::Frame(frame) => all.frames.push(seen(&frame)),
                    ReadRecord::Status(status) => match *status {
                        StatusRecord::Worker(worker) => {
                            all.workers.insert(worker.worker.to_string(), worker);
                        }
                        StatusRecord::Camera(camera) if camera.status.as_str() == "failed" => {
                            let detail = camera.detail.unwrap_or_default();
                            all.failed.insert(camera.camera.to_string(), detail);
                        }
                        StatusRecord::Camera(_) => {}
                    },
                    _ => {}
                }
            }
        });
        Ok(Self { all, task })
    }

    /// Returns the records read so far.
    pub fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` returns a value for the records read so far; returns it with the time it took.
    pub async fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        found: impl Fn(&All) -> Option<T>,
    ) -> Result<(T, Duration)> {
        let started = Instant::now();
        loop {
            if let Some(found) = found(&self.all()) {
                return Ok((found, started.elapsed()));
            }
            if started.elapsed() > patience {
                let owners = self.all().owners(started - patience);
                anyhow::bail!(
                    "not within {patience:?}: {what}; {} cameras deliver: {owners:?}",
                    owners.len()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn seen(frame: &FrameRecord) -> Seen {
    Seen {
        at: Instant::now(),
        camera: frame.camera.to_string(),
        worker: frame.worker.to_string(),
        epoch: frame.epoch.0,
        session: frame.session,
        seq: frame.seq,
        captured_at: frame.captured_at,
        published_at: frame.published_at,
        dropped_before: frame.dropped_before.values().sum(),
    }
}

impl All {
    /// Returns the cameras that have delivered since `since`, each with the worker that has its highest
    /// epoch, and the session there.
    pub fn owners(&self, since: Instant) -> BTreeMap<String, (String, SessionId)> {
        let mut owners: BTreeMap<String, &Seen> = BTreeMap::new();
        for frame in self.frames.iter().filter(|frame| frame.at >= since) {
            let last = owners.entry(frame.camera.clone()).or_insert(frame);
            if frame.epoch >= last.epoch {
                *last = frame;
            }
        }
        owners.into_iter().map(|(camera, last)| (camera, (last.worker.clone(), last.session))).collect()
    }

    /// Returns the partitions of each running worker.
    pub fn partitions(&self) -> BTreeMap<String, BTreeSet<i32>> {
        let running = self.workers.values().filter(|worker| worker.state == WorkerState::Running);
        let share = |worker: &WorkerStatusRecord| {
            let fleet = worker.fleet.clone().unwrap_or_default();
            (worker.worker.to_string(), fleet.partitions.into_iter().collect())
        };
        running.map(share).collect()
    }

    /// Returns the longest time for which two owners of one camera have published side by side. Fails if one
    /// epoch has two owners.
    pub fn longest_overlap(&self) -> Result<Duration> {
        let mut spans: BTreeMap<(&str, u64), (&str, Timestamp, Timestamp)> = BTreeMap::new();
        for frame in &self.frames {
            let span = spans.entry((&frame.camera, frame.epoch)).or_insert((
                &frame.worker,
                frame.published_at,
                frame.published_at,
            ));
            ensure!(span.0 == frame.worker, "{frame:?} has the epoch of {span:?}");
            (span.1, span.2) = (span.1.min(frame.published_at), span.2.max(frame.published_at));
        }
        let mut longest = 0;
        let spans: Vec<_> = spans.into_iter().collect();
        for pair in spans.windows(2) {
            let [((camera, _), (_, _, end)), ((next, _), (_, start, _))] = pair else { continue };
            if camera == next {
                longest = longest.max(end.ms_since(*start));
            }
        }
        Ok(Duration::from_millis(u64::try_from(longest).unwrap_or(0)))
    }

    /// Returns the longest time between two frames of a camera that were captured between `begin` and `end`, by any of
    /// its owners. The time from `begin` to the first frame and from the last one to `end` count as well. Cameras
    /// without a frame after `end` were removed, and are left out.
    pub fn longest_gap(&self, begin: Timestamp, end: Timestamp) -> Duration {
        let mut cameras: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
        for frame in &self.frames {
            cameras.entry(&frame.camera).or_default().push(frame.captured_at);
        }
        let mut longest = 0;
        for times in cameras.values_mut().filter(|times| times.iter().any(|time| *time > end)) {
            times.retain(|time| (begin..=end).contains(time));
            times.extend([begin, end]);
            times.sort();
            longest = times.windows(2).map(|pair| pair[1].ms_since(pair[0])).fold(longest, i64::max);
        }
        Duration::from_millis(u64::try_from(longest).unwrap_or(0))
    }

    /// Counts the frames that are missing between the records since `since`, for the cameras that `which`
    /// selects. Frames that their worker has dropped and counted are not missing: a busy machine drops frames
    /// of live cameras.
    pub fn missing(&self, since: Instant, which: impl Fn(&str) -> bool) -> Result<u64> {
        let mut last: BTreeMap<(&str, SessionId), u64> = BTreeMap::new();
        let mut missing = 0;
        for frame in self.frames.iter().filter(|frame| frame.at >= since && which(&frame.camera)) {
            if let Some(before) = last.insert((&frame.camera, frame.session), frame.seq) {
                let gap = frame.seq.checked_sub(before + 1).context("out of order")?;
                missing += gap.saturating_sub(frame.dropped_before);
            }
        }
        Ok(missing)
    }
}
