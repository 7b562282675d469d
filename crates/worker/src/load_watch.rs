//! Measures the worker's load, and sets the input size and the cameras' frame-skip intervals accordingly.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lookout_schema::{DropCause, Timestamp, WorkerLoad};

use crate::{
    camera::Camera,
    components::Inputs,
    input_choice::{InputChoice, Then, Totals},
    load::{Load, Shedder, frame_skip},
    metrics::{DeviceReading, Metrics},
    roster::Roster,
};

pub(crate) struct LoadWatch {
    inputs: Inputs,
    choice: InputChoice,
    /// When the network was ready.
    since: Option<Instant>,
    budget: Option<Duration>,
    shedder: Option<Shedder>,
    level: u32,
    /// Counts of published and of late live frames at the last call.
    before: (u64, u64),
}

/// How long no decision is made after the network is ready.
const SETTLED: Duration = Duration::from_secs(1);

/// A camera whose last record is older than this is ignored in the measurement.
const RECENT_US: i64 = 2_000_000;

impl LoadWatch {
    pub(crate) fn new(budget: Option<Duration>, inputs: Inputs) -> Self {
        let choice = InputChoice::new(inputs.sizes.clone());
        let shedder = budget.map(Shedder::new);
        Self { inputs, choice, since: None, budget, shedder, level: 0, before: (0, 0) }
    }

    /// Measures the load, and sets the network's input size and the cameras' frame-skip intervals. Must be called twice
    /// per second once the network is loaded.
    pub(crate) fn look(&mut self, now: Instant, roster: &Roster, metrics: &Metrics) -> Option<WorkerLoad> {
        let load = self.measure(roster, metrics);
        let since = *self.since.get_or_insert(now);
        // Frames that arrived while the network was loaded are dropped first, and are not evidence of a slow device.
        if now.saturating_duration_since(since) >= SETTLED {
            self.choose_input(now, roster, metrics);
        }
        let live = || roster.iter().filter(|camera| camera.settings.uri.is_live());
        // A smaller input costs less than skipped frames, so frames are skipped only at the smallest input.
        let shedder = self.shedder.as_mut().filter(|_| !self.choice.has_smaller());
        if let Some(shedder) = shedder {
            let priorities: BTreeSet<u8> = live().map(|camera| camera.settings.priority).collect();
            let level = shedder.decide(now, load, priorities.len());
            if level != self.level {
                let age_ms = load.age.map(|age| age.as_millis() as u64);
                tracing::info!(
                    from = self.level,
                    to = level,
                    age_ms,
                    late = load.late,
                    "load-shedding level changed"
                );
                self.level = level;
            }
            for camera in live() {
                camera.frame_skip.set(frame_skip(level, &priorities, camera.settings.priority));
            }
        }
        let degraded = roster.iter().filter(|camera| camera.frame_skip.every() > 1).count();
        let millis = |duration: Duration| duration.as_millis() as u64;
        (load.age.is_some() || self.budget.is_some()).then(|| WorkerLoad {
            age_ms: load.age.map(millis),
            latency_budget_ms: self.budget.map(millis),
            degraded_cameras: degraded as u64,
        })
    }

    fn choose_input(&mut self, now: Instant, roster: &Roster, metrics: &Metrics) {
        let (published, late) = self.before;
        let DeviceReading { busy, frames, .. } = metrics.device();
        let live = roster.iter().filter(|camera| camera.settings.uri.is_live()).count();
        // The newest frame of each camera, and the frames that the device is processing.
        let waiting = live as u64 + 2;
        let totals = Totals { published, late, frames, busy };
        let Some(verdict) = self.choice.look(now, totals, waiting) else { return };
        verdict.log(&self.inputs.network, live);
        if let Then::Take(size) = verdict.then {
            self.inputs.current.set(size);
        }
    }

    fn measure(&mut self, roster: &Roster, metrics: &Metrics) -> Load {
        let now_us = Timestamp::now().as_unix_us();
        let recent = |camera: &&Camera| now_us - (camera.ledger.last_published_us() as i64) < RECENT_US;
        let (mut ages, mut published, mut late) = (Vec::new(), 0, 0);
        for camera in roster.iter().filter(|camera| camera.settings.uri.is_live()) {
            let counts = camera.ledger.counts();
            published += counts.published;
            let too_late = [DropCause::Stale, DropCause::QueueFull];
            late += too_late.iter().filter_map(|cause| counts.dropped.get(cause)).sum::<u64>();
            if recent(&camera) {
                ages.extend(metrics.last_age(&camera.settings.id));
            }
        }
        ages.sort_unstable();
        // The counts of removed cameras are no longer in the totals.
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let (new, new_late) = (since(published, self.before.0), since(late, self.before.1));
        self.before = (published, late);
        let at = (ages.len() * 9).div_ceil(10).saturating_sub(1);
        Load { age: ages.get(at).copied(), late: new_late / (new + new_late).max(1.0) }
    }
}
