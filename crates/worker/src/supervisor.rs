//! Runs a worker from its first frame to its last record.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use lookout_broker::FleetEvent;
use lookout_config::PipelineSettings;
use lookout_schema::{CameraStatus, Timestamp, WorkerState};
use lookout_stage::{CameraReport, RecordSink};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use crate::{
    fleet_seat::{Fleet, next},
    health::WorkerView,
    http::Pages,
    load_watch::LoadWatch,
    metrics::{DeviceReading, Metrics},
    name::worker_id,
    parts::{Parts, SinkWatch},
    progress::{CameraLines, Progress},
    recorder::Latencies,
    status::{Beside, Heartbeat},
    summary::Summary,
    wiring::{self, Stages},
};

/// Someone wants the worker to stop: the first time in order, the second time at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopRequest;

/// How often the worker looks at itself.
const LOOK: Duration = Duration::from_millis(500);
/// How often a worker whose cameras come and go sees to those that do.
const SETTLE: Duration = Duration::from_millis(50);
/// What stages that were told to end at once may take for it.
const GRACE: Duration = Duration::from_secs(2);
/// Where nobody asked to stop, records wait for the broker as long as it takes.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365);

/// Runs `settings` on `parts` until every camera has come to its end or `stops` says so, and brings the
/// frames on their way to the sink.
///
/// # Errors
/// The http address is taken, or a thread could not be started. What happens later is in the summary.
pub async fn run(
    settings: PipelineSettings,
    parts: Parts,
    mut stops: mpsc::Receiver<StopRequest>,
    progress: &Progress,
) -> Result<Summary> {
    let metrics = Metrics::new();
    let listener = match settings.worker.http {
        Some(address) => {
            Some(lookout_web::bind(address).await.with_context(|| format!("worker.http = {address}"))?)
        }
        None => None,
    };
    let mut supervisor = Supervisor::start(&settings, parts, metrics, progress)?;
    let pages = Pages { view: supervisor.view.subscribe(), metrics: Arc::clone(&supervisor.metrics) };
    let _http = listener.map(|listener| {
        AbortOnDrop(tokio::spawn(lookout_web::serve(listener, move |path: &str| pages.page(path))))
    });
    let latencies = supervisor.until_all_are_records(&mut stops).await;
    supervisor.until_all_are_delivered(&mut stops).await;
    Ok(supervisor.finish(&latencies).await)
}

struct Supervisor {
    stages: Stages,
    sink: Arc<dyn SinkWatch>,
    metrics: Arc<Metrics>,
    heartbeat: Heartbeat,
    state: WorkerState,
    view: watch::Sender<WorkerView>,
    lines: CameraLines,
    shows_lines: bool,
    look: Interval,
    settle: Interval,
    load: LoadWatch,
    fleet: Option<Fleet>,
    beside: Beside,
    report: Interval,
    reported: Instant,
    started: Instant,
    drain: Duration,
    haste: Haste,
}

/// How much longer frames are waited for.
#[derive(Debug, Clone, Copy)]
enum Haste {
    /// As long as it takes.
    None,
    /// The worker is to stop; until then they may become records and reach the broker.
    Until(Instant),
    /// The rest is given up; until then the stages may see to it.
    GivenUp(Instant),
}

impl Supervisor {
    fn start(
        settings: &PipelineSettings,
        mut parts: Parts,
        metrics: Arc<Metrics>,
        progress: &Progress,
    ) -> Result<Self> {
        let worker = worker_id(settings.worker.id.as_ref());
        let sink = Arc::clone(&parts.sink);
        let heartbeat = Heartbeat {
            worker: worker.clone(),
            model: parts.model.clone(),
            device: parts.device.clone(),
            started_at: Timestamp::now(),
            metrics: Arc::clone(&metrics),
            sink: Arc::clone(&parts.sink) as Arc<dyn RecordSink>,
            last: DeviceReading::default(),
        };
        let fleet = parts.fleet.take().zip(settings.fleet.as_ref());
        let fleet = fleet.map(|(seat, fleet)| Fleet::new(seat, fleet, Arc::clone(&parts.knows_class)));
        let now = Instant::now();
        let stages = wiring::start(settings, parts, &worker, &metrics)?;
        tracing::info!(%worker, pipeline = settings.name, cameras = stages.roster.iter().len(), "worker runs");
        let view = WorkerView {
            at: now.into_std(),
            state: WorkerState::Running,
            cameras: stages.roster.iter().map(|camera| camera.view()).collect(),
            sink: sink.health(),
            joined: fleet.as_ref().map(Fleet::has_joined),
        };
        Ok(Self {
            lines: progress.begin(),
            shows_lines: progress.is_shown(),
            stages,
            sink,
            metrics,
            heartbeat,
            state: WorkerState::Running,
            view: watch::Sender::new(view),
            look: every(LOOK),
            settle: every(SETTLE),
            load: LoadWatch::new(settings.worker.latency_budget),
            fleet,
            beside: Beside::default(),
            report: every(settings.worker.status_interval),
            reported: now,
            started: now,
            drain: settings.worker.drain,
            haste: Haste::None,
        })
    }

    /// Until the device has nothing more to come, or has been given up.
    async fn until_all_are_records(&mut self, stops: &mut mpsc::Receiver<StopRequest>) -> Latencies {
        loop {
            let deadline = match self.haste {
                Haste::None => Instant::now() + FOR_EVER,
                Haste::Until(deadline) | Haste::GivenUp(deadline) => deadline,
            };
            tokio::select! {
                Some(report) = self.stages.reports.recv() => self.hear(report),
                _ = self.look.tick() => self.look(),
                _ = self.settle.tick(), if self.fleet.is_some() => self.settle(),
                event = next(&mut self.fleet) => self.hear_fleet(event),
                _ = self.report.tick() => self.send_status(),
                Some(StopRequest) = stops.recv() => self.stop(),
                ended = &mut self.stages.recorder => return ended.unwrap_or_else(|_| Latencies::new()),
                () = sleep_until(deadline) => match self.haste {
                    Haste::GivenUp(_) => {
                        tracing::error!("a stage is stuck, its frames are given up");
                        return Latencies::new();
                    }
                    Haste::None | Haste::Until(_) => self.give_up(),
                },
            }
        }
    }

    /// Until the broker has every record, or they have been given up.
    async fn until_all_are_delivered(&mut self, stops: &mut mpsc::Receiver<StopRequest>) {
        self.state = WorkerState::Draining;
        let sink = Arc::clone(&self.sink);
        loop {
            let deadline = match self.haste {
                Haste::None => Instant::now() + FOR_EVER,
                Haste::Until(deadline) => deadline,
                Haste::GivenUp(_) => Instant::now(),
            };
            let mut drained = sink.drain(deadline.into_std());
            loop {
                tokio::select! {
                    () = &mut drained => return,
                    Some(report) = self.stages.reports.recv() => self.hear(report),
                    _ = self.look.tick() => self.look(),
                    _ = self.settle.tick(), if self.fleet.is_some() => self.settle(),
                    event = next(&mut self.fleet) => self.hear_fleet(event),
                    _ = self.report.tick() => self.send_status(),
                    Some(StopRequest) = stops.recv() => {
                        self.stop();
                        break;
                    }
                }
            }
        }
    }

    async fn finish(mut self, latencies: &Latencies) -> Summary {
        let seconds = self.started.elapsed();
        self.hear_the_last().await;
        let trouble = match self.fleet.take() {
            Some(fleet) => fleet.leave().await,
            None => None,
        };
        self.state = WorkerState::Stopped;
        self.send_status();
        self.sink.drain((Instant::now() + GRACE).into_std()).await;
        Summary { fleet: trouble, ..Summary::new(seconds, &self.stages.roster, latencies) }
    }

    /// What the cameras said at their end may still be on its way.
    async fn hear_the_last(&mut self) {
        let until = Instant::now() + GRACE;
        while self.stages.roster.iter().any(|camera| !camera.status.is_final()) {
            match timeout_at(until, self.stages.reports.recv()).await {
                Ok(Some(report)) => self.hear(report),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn hear(&mut self, report: CameraReport) {
        let Some(camera) = self.stages.roster.apply(report) else { return };
        self.heartbeat.send_camera(camera);
    }

    /// Brings the cameras to what the fleet says.
    fn hear_fleet(&mut self, event: FleetEvent) {
        let Some(fleet) = &mut self.fleet else { return };
        let failed = fleet.hear(event);
        let plan = fleet.plan();
        for unwatched in plan.unwatched.iter().filter(|each| !self.beside.unwatched.contains(each)) {
            tracing::warn!(camera = %unwatched.camera, why = unwatched.why, "a camera is not watched");
            self.heartbeat.send_unwatched(unwatched);
        }
        self.beside.unwatched = plan.unwatched;
        self.beside.fleet = Some(plan.summary);
        self.stages.roster.wish(plan.wishes);
        self.settle();
        if failed && matches!(self.haste, Haste::None) {
            self.stop();
        }
    }

    fn settle(&mut self) {
        for gone in self.stages.roster.settle() {
            self.metrics.forget(&gone);
        }
        if let Some(fleet) = &mut self.fleet {
            fleet.release(&self.stages.roster);
        }
    }

    fn look(&mut self) {
        self.beside.load = self.load.look(Instant::now().into_std(), &self.stages.roster, &self.metrics);
        self.lines.update(&self.stages.roster, &self.metrics);
        self.view.send_replace(WorkerView {
            at: std::time::Instant::now(),
            state: self.state,
            cameras: self.stages.roster.iter().map(|camera| camera.view()).collect(),
            sink: self.sink.health(),
            joined: self.fleet.as_ref().map(Fleet::has_joined),
        });
    }

    fn send_status(&mut self) {
        let interval = self.reported.elapsed();
        self.reported = Instant::now();
        let roster = &mut self.stages.roster;
        roster.measure(interval);
        self.heartbeat.send(self.state, roster, interval, &self.beside);
        if !self.shows_lines && self.state != WorkerState::Stopped {
            let running = roster.iter().filter(|camera| camera.status == CameraStatus::Running).count();
            let total = roster.total();
            tracing::info!(
                running,
                cameras = roster.iter().len(),
                fps = format!("{:.1}", roster.iter().fold(0.0, |sum, camera| sum + camera.fps)),
                delivered = total.delivered,
                dropped = total.dropped.values().sum::<u64>(),
                "worker"
            );
        }
    }

    fn stop(&mut self) {
        if !matches!(self.haste, Haste::None) {
            tracing::warn!("stopping at once");
            return self.give_up();
        }
        tracing::info!(deadline_s = self.drain.as_secs(), "stopping: frames on their way go to kafka first");
        self.state = WorkerState::Draining;
        self.haste = Haste::Until(Instant::now() + self.drain);
        self.stages.roster.stop_all();
    }

    fn give_up(&mut self) {
        if self.stages.abandon.take().is_some() && !self.stages.infer.is_finished() {
            tracing::warn!("frames that are not records yet are given up");
        }
        self.haste = Haste::GivenUp(Instant::now() + GRACE);
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
