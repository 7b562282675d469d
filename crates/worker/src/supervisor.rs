//! The supervisor, which runs a worker from its first frame to its last record.

mod stopping;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use lookout_config::PipelineSettings;
use lookout_schema::{CameraStatus, Timestamp, WorkerState};
use lookout_stage::{CameraReport, FleetEvent, RecordSink};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use self::stopping::GRACE;
use crate::{
    components::{Components, MonitoredSink, Network},
    fleet::{Fleet, next},
    health::WorkerView,
    http::Pages,
    load_watch::LoadWatch,
    metrics::{DeviceReading, Metrics},
    progress::{CameraLines, Progress},
    recorder::{DeviceLost, Latencies, recorded},
    startup::{Loader, NetworkFailed, StartReport, loaded},
    status::{Beside, Heartbeat},
    summary::Summary,
    wiring::{self, StageNetwork, StageParts, Stages},
    worker_id::worker_id,
};

/// A request to stop the worker: the first one drains, the second one stops at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopRequest;

/// The interval at which the worker checks its state.
const LOOK: Duration = Duration::from_millis(500);
/// The interval at which a worker of a fleet reconciles its cameras.
const SETTLE: Duration = Duration::from_millis(50);
/// The deadline if no stop was requested: records wait for the broker without a limit.
const NO_DEADLINE: Duration = Duration::from_secs(86_400 * 365);

/// Runs `settings` with `components` until every camera has ended or `stops` receives a request, then drains frames on their
/// way to the sink.
///
/// # Errors
/// Returns an error if the HTTP address is in use, a thread cannot be started, or the network cannot be loaded
/// ([`NetworkFailed`]) or its device is lost ([`DeviceLost`]); in the last two cases the cameras are stopped in order
/// first. Later problems are reported in the summary.
pub async fn run(
    settings: PipelineSettings,
    components: Components,
    mut stops: mpsc::Receiver<StopRequest>,
    progress: &Progress,
) -> Result<Summary> {
    let metrics = Metrics::new(components.decoder_fallbacks.clone());
    let listener = match settings.worker.http {
        Some(address) => {
            Some(lookout_web::bind(address).await.with_context(|| format!("worker.http = {address}"))?)
        }
        None => None,
    };
    let mut supervisor = Supervisor::start(settings, components, metrics, progress)?;
    let pages = Pages { view: supervisor.view.subscribe(), metrics: Arc::clone(&supervisor.metrics) };
    let _http = listener.map(|listener| {
        AbortOnDrop(tokio::spawn(lookout_web::serve(listener, move |path: &str| pages.page(path))))
    });
    let latencies = supervisor.until_all_are_records(&mut stops).await?;
    supervisor.until_all_are_delivered(&mut stops).await;
    supervisor.finish(&latencies).await
}

struct Supervisor {
    settings: PipelineSettings,
    stages: Stages,
    /// `Some` while the network is being loaded.
    loader: Option<Loader>,
    /// Why the network could not be loaded, or the device was lost.
    failure: Option<anyhow::Error>,
    start_report: StartReport,
    sink: Arc<dyn MonitoredSink>,
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
    /// Number of batches that the device runs in parallel.
    streams: u32,
}

/// How long the worker still waits for frames.
#[derive(Debug, Clone, Copy)]
enum Haste {
    /// Without a limit.
    None,
    /// The worker is stopping. Until this time, frames may become records and reach the broker.
    Until(Instant),
    /// The remaining frames are dropped. Until this time, the stages may end.
    GivenUp(Instant),
}

impl Supervisor {
    fn start(
        settings: PipelineSettings,
        components: Components,
        metrics: Arc<Metrics>,
        progress: &Progress,
    ) -> Result<Self> {
        let worker = worker_id(settings.worker.id.as_ref());
        let sink = Arc::clone(&components.sink);
        let heartbeat = Heartbeat {
            worker: worker.clone(),
            model: None,
            device: components.device,
            started_at: Timestamp::now(),
            metrics: Arc::clone(&metrics),
            sink: Arc::clone(&components.sink) as Arc<dyn RecordSink>,
            last: DeviceReading::default(),
        };
        let now = Instant::now();
        let loader = Loader::start(components.load)
            .context("the thread that loads the network could not be started")?;
        let stage_parts = StageParts {
            sink: components.sink,
            make_source: components.make_source,
            reload: components.reload,
            prefetch: components.prefetch,
        };
        let stages = wiring::start(&settings, stage_parts, &worker, &metrics)?;
        tracing::info!(
            %worker,
            pipeline = settings.name,
            cameras = stages.roster.iter().len(),
            "worker starting: cameras connect while the network is loaded"
        );
        let view = WorkerView {
            at: now.into_std(),
            state: WorkerState::Running,
            cameras: stages.roster.iter().map(|camera| camera.view()).collect(),
            sink: sink.health(),
            joined: settings.fleet.as_ref().map(|_| false),
            loading: Some(loader.loading.step()),
        };
        Ok(Self {
            loader: Some(loader),
            failure: None,
            start_report: StartReport::new(now.into_std()),
            lines: progress.start(),
            shows_lines: progress.is_shown(),
            stages,
            sink,
            metrics,
            heartbeat,
            state: WorkerState::Running,
            view: watch::Sender::new(view),
            look: every(LOOK),
            settle: every(SETTLE),
            load: LoadWatch::new(settings.worker.latency_budget, components.inputs),
            fleet: None,
            beside: Beside::default(),
            report: every(settings.worker.status_interval),
            reported: now,
            started: now,
            drain: settings.worker.drain,
            haste: Haste::None,
            streams: 1,
            settings,
        })
    }

    /// Waits until the device has processed every frame or remaining frames have been dropped.
    async fn until_all_are_records(&mut self, stops: &mut mpsc::Receiver<StopRequest>) -> Result<Latencies> {
        loop {
            let deadline = match self.haste {
                Haste::None => Instant::now() + NO_DEADLINE,
                Haste::Until(deadline) | Haste::GivenUp(deadline) => deadline,
            };
            tokio::select! {
                Some(report) = self.stages.reports.recv() => self.handle_report(report),
                _ = self.look.tick() => self.look(),
                _ = self.settle.tick(), if self.fleet.is_some() => self.settle(),
                event = next(&mut self.fleet) => self.handle_fleet_event(event),
                _ = self.report.tick() => self.send_status(),
                Some(StopRequest) = stops.recv() => self.stop()?,
                network = loaded(&mut self.loader) => self.network_loaded(network)?,
                Some(lost) = self.stages.lost.recv() => self.device_lost(lost),
                latencies = recorded(&mut self.stages.recorder) => return Ok(latencies),
                () = sleep_until(deadline) => match self.haste {
                    Haste::GivenUp(_) => {
                        tracing::error!("a stage did not stop in time, its frames are abandoned");
                        return Ok(Latencies::new());
                    }
                    Haste::None | Haste::Until(_) => self.give_up(),
                },
            }
        }
    }

    /// Waits until the broker has acknowledged every record or remaining records have expired.
    async fn until_all_are_delivered(&mut self, stops: &mut mpsc::Receiver<StopRequest>) {
        self.state = WorkerState::Draining;
        let sink = Arc::clone(&self.sink);
        loop {
            let deadline = match self.haste {
                Haste::None => Instant::now() + NO_DEADLINE,
                Haste::Until(deadline) => deadline,
                Haste::GivenUp(_) => Instant::now(),
            };
            let mut drained = sink.drain(deadline.into_std());
            loop {
                tokio::select! {
                    () = &mut drained => return,
                    Some(report) = self.stages.reports.recv() => self.handle_report(report),
                    _ = self.look.tick() => self.look(),
                    _ = self.settle.tick(), if self.fleet.is_some() => self.settle(),
                    event = next(&mut self.fleet) => self.handle_fleet_event(event),
                    _ = self.report.tick() => self.send_status(),
                    Some(StopRequest) = stops.recv() => {
                        self.hurry();
                        break;
                    }
                }
            }
        }
    }

    async fn finish(mut self, latencies: &Latencies) -> Result<Summary> {
        let seconds = self.started.elapsed();
        self.handle_last_reports().await;
        let trouble = match self.fleet.take() {
            Some(fleet) => fleet.leave().await,
            None => None,
        };
        self.state = WorkerState::Stopped;
        self.send_status();
        self.sink.drain((Instant::now() + GRACE.0).into_std()).await;
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Summary { fleet: trouble, ..Summary::new(seconds, &self.stages.roster, latencies) }),
        }
    }

    /// Starts the stages behind the cameras' queues, or stops the cameras if the network could not be loaded.
    fn network_loaded(&mut self, network: Result<Network>) -> Result<()> {
        self.loader = None;
        let network = match network {
            Ok(network) => network,
            Err(error) => {
                self.failure = Some(NetworkFailed(error).into());
                return self.stop();
            }
        };
        let Network { detectors, first_pass, model, classifier, knows_class, fleet } = network;
        let first_pass_ms = first_pass.map(|took| took.as_millis() as u64);
        tracing::info!(
            elapsed_s = self.started.elapsed().as_secs_f64(),
            first_pass_ms,
            streams = detectors.len(),
            "network ready"
        );
        self.heartbeat.model = Some(model.clone());
        self.streams = u32::try_from(detectors.len()).unwrap_or(u32::MAX);
        self.started = Instant::now();
        self.fleet = fleet
            .zip(self.settings.fleet.as_ref())
            .map(|(components, fleet)| Fleet::new(components, fleet, knows_class));
        self.stages.attach(&self.settings, StageNetwork { detectors, first_pass, model, classifier })
    }

    /// Receives the last reports of the cameras, which may still be on their way.
    async fn handle_last_reports(&mut self) {
        let until = Instant::now() + GRACE.0;
        while self.stages.roster.iter().any(|camera| !camera.status.is_final()) {
            match timeout_at(until, self.stages.reports.recv()).await {
                Ok(Some(report)) => self.handle_report(report),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Stops the cameras and drops the frames that no device can process any more. Records may still reach the broker.
    fn device_lost(&mut self, lost: DeviceLost) {
        tracing::error!(
            reason = lost.reason,
            "device lost, this process can no longer use it: the worker stops"
        );
        self.failure.get_or_insert(lost.into());
        self.stop_in_order();
        self.stages.abandon = None;
    }

    fn handle_report(&mut self, report: CameraReport) {
        let Some(camera) = self.stages.roster.apply(report) else { return };
        self.heartbeat.send_camera(camera);
    }

    /// Updates the desired state of the cameras from an event of the fleet.
    fn handle_fleet_event(&mut self, event: FleetEvent) {
        let Some(fleet) = &mut self.fleet else { return };
        let failed = fleet.handle_event(event);
        let plan = fleet.plan();
        for unwatched in plan.unwatched.iter().filter(|each| !self.beside.unwatched.contains(each)) {
            tracing::warn!(camera = %unwatched.camera, why = unwatched.why, "camera is not run by this worker");
            self.heartbeat.send_unwatched(unwatched);
        }
        self.beside.unwatched = plan.unwatched;
        self.beside.fleet = Some(plan.summary);
        self.stages.roster.set_desired(plan.desired);
        self.settle();
        if failed {
            self.stop_in_order();
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
        let now = std::time::Instant::now();
        if self.stages.has_network() {
            self.beside.load = self.load.look(now, &self.stages.roster, &self.metrics);
        }
        let joined = self.fleet.as_ref().is_some_and(Fleet::has_joined);
        let view = WorkerView {
            at: now,
            state: self.state,
            cameras: self.stages.roster.iter().map(|camera| camera.view()).collect(),
            sink: self.sink.health(),
            joined: self.settings.fleet.as_ref().map(|_| joined),
            loading: self.loader.as_ref().map(|loader| loader.loading.step()),
        };
        if self.state == WorkerState::Running
            && let Some(line) = self.start_report.look(now, &view.readiness(Timestamp::now()))
        {
            line.log();
        }
        self.lines.update(&self.stages.roster, &self.metrics, self.start_report.waiting());
        self.view.send_replace(view);
    }

    fn send_status(&mut self) {
        let interval = self.reported.elapsed();
        self.reported = Instant::now();
        let has_network = self.stages.has_network();
        let roster = &mut self.stages.roster;
        roster.measure(interval);
        self.heartbeat.send(self.state, roster, interval, &self.beside);
        if !self.shows_lines && has_network && self.state != WorkerState::Stopped {
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
