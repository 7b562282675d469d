//! All cameras of the assigned partitions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lookout_config::AdasSettings;
use lookout_schema::{AlertRecord, CameraId, FrameRecord, Timestamp, TrackRecord};
use lookout_track::TimestampConflict;
use lookout_wire::{ReadRecord, RecordWithOffset};

use crate::{
    metrics::Metrics,
    vehicle::{EgoCamera, Limits, Outcome},
};

/// The maximum number of cameras, because a writer of records may invent camera ids.
const MAX_CAMERAS: usize = 10_000;

/// A camera without records for this time is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Interval of the log messages about records that are not used for warnings.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

const UNREADABLE: &str = "unreadable";
const NOT_CONFIGURED: &str = "not_configured";
const CAPACITY: &str = "capacity";

/// Returns all outcomes by which records are counted.
pub(crate) fn outcomes() -> impl Iterator<Item = &'static str> {
    Outcome::ALL.into_iter().map(Outcome::as_str).chain([UNREADABLE, NOT_CONFIGURED, CAPACITY])
}

/// The alerts and tracks to publish.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    pub(crate) alerts: Vec<AlertRecord>,
    pub(crate) tracks: Vec<TrackRecord>,
}

pub(crate) struct Cameras {
    settings: AdasSettings,
    metrics: Arc<Metrics>,
    watched: BTreeMap<CameraId, Watched>,
    /// The last logged number of records per outcome, and when it was logged.
    logged: BTreeMap<&'static str, u64>,
    logged_at: Timestamp,
}

struct Watched {
    vehicle: EgoCamera,
    partition: i32,
    last_record_at: Timestamp,
}

impl Outbound {
    fn add(&mut self, (alerts, tracks): (Vec<AlertRecord>, Vec<TrackRecord>)) {
        self.alerts.extend(alerts);
        self.tracks.extend(tracks);
    }
}

impl Cameras {
    pub(crate) fn new(settings: AdasSettings, metrics: Arc<Metrics>, now: Timestamp) -> Self {
        Self { settings, metrics, watched: BTreeMap::new(), logged: BTreeMap::new(), logged_at: now }
    }

    /// Processes a record that was received at `now`.
    pub(crate) fn receive(&mut self, placed: RecordWithOffset, now: Timestamp) -> Outbound {
        let frame = match placed.record {
            ReadRecord::Frame(frame) => *frame,
            ReadRecord::Unreadable { partition, offset, reason, .. } => {
                tracing::debug!(partition, offset, reason, "an unreadable record is ignored");
                return self.counted(UNREADABLE);
            }
            _ => return self.counted(NOT_CONFIGURED),
        };
        if placed.offsets_restart {
            // The topic was recreated, and possibly the topic of the claims, so epochs may restart.
            let mut outbound = self.lose(&[placed.partition], now);
            let assessment = self.process_frame(frame, placed.partition, now);
            outbound.add((assessment.alerts, assessment.tracks));
            return outbound;
        }
        self.process_frame(frame, placed.partition, now)
    }

    fn process_frame(&mut self, frame: FrameRecord, partition: i32, now: Timestamp) -> Outbound {
        let Some(settings) = self.settings.of(&frame.camera) else { return self.counted(NOT_CONFIGURED) };
        if !self.watched.contains_key(&frame.camera) {
            if self.watched.len() >= MAX_CAMERAS {
                return self.counted(CAPACITY);
            }
            let limits = Limits { latency_budget: self.settings.latency_budget };
            let vehicle = EgoCamera::new(frame.camera.clone(), settings.clone(), limits);
            let watched = Watched { vehicle, partition, last_record_at: now };
            self.watched.insert(frame.camera.clone(), watched);
        }
        let Some(watched) = self.watched.get_mut(&frame.camera) else { return Outbound::default() };
        let camera = frame.camera.clone();
        watched.last_record_at = now;
        let assessment = watched.vehicle.process(frame, now);
        self.metrics.record(assessment.outcome.as_str());
        if let Some(doubt) = assessment.doubt {
            self.doubt(&camera, doubt);
        }
        Outbound { alerts: assessment.alerts, tracks: assessment.tracks }
    }

    /// Ends the alerts and tracks of cameras on revoked partitions, because the new owner of the partitions
    /// does not know them.
    pub(crate) fn lose(&mut self, partitions: &[i32], now: Timestamp) -> Outbound {
        self.release(now, |watched| partitions.contains(&watched.partition))
    }

    /// Ends all alerts and tracks.
    pub(crate) fn finish(&mut self, now: Timestamp) -> Outbound {
        self.release(now, |_| true)
    }

    /// Handles timeouts. Callers must call it regularly.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Outbound {
        let silent =
            |watched: &Watched| now.ms_since(watched.last_record_at) > FORGET_AFTER.as_millis() as i64;
        let mut outbound = self.release(now, silent);
        let mut open = 0;
        for watched in self.watched.values_mut() {
            outbound.alerts.extend(watched.vehicle.tick(now));
            open += watched.vehicle.open_alerts();
        }
        self.metrics.cameras.set(self.watched.len() as i64);
        self.metrics.open_alerts.set(open as i64);
        if now.ms_since(self.logged_at) >= LOG_INTERVAL.as_millis() as i64 {
            self.logged_at = now;
            self.log();
        }
        outbound
    }

    fn release(&mut self, now: Timestamp, which: impl Fn(&Watched) -> bool) -> Outbound {
        let mut outbound = Outbound::default();
        let gone = self.watched.extract_if(.., |_, watched| which(watched));
        gone.for_each(|(_, mut watched)| outbound.add(watched.vehicle.finish(now)));
        outbound
    }

    fn doubt(&self, camera: &CameraId, doubt: Option<TimestampConflict>) {
        let Some(doubt) = doubt else {
            return tracing::info!(%camera, "the camera's `pts_ns` and `captured_at` agree again");
        };
        self.metrics.doubted(doubt.field());
        tracing::warn!(
            %camera,
            not_believed = doubt.field(),
            "the camera's `pts_ns` and `captured_at` advance at different rates, one of them is ignored"
        );
    }

    fn counted(&self, outcome: &'static str) -> Outbound {
        self.metrics.record(outcome);
        Outbound::default()
    }

    /// Logs how many more records than at the last call were not used for warnings.
    fn log(&mut self) {
        let outcomes = [Outcome::Stale.as_str(), Outcome::Future.as_str(), UNREADABLE, CAPACITY];
        for outcome in outcomes {
            let records = self.metrics.records(outcome);
            let before = self.logged.insert(outcome, records).unwrap_or(0);
            if records > before {
                tracing::warn!(outcome, records = records - before, "records ignored for warnings");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lookout_schema::RecordKind;

    use super::*;

    fn cameras(text: &str) -> Cameras {
        let settings = AdasSettings::parse(Path::new("x"), text, &|_| None).unwrap();
        Cameras::new(settings, Metrics::new(outcomes()), Timestamp::now())
    }

    fn placed(record: ReadRecord) -> RecordWithOffset {
        RecordWithOffset { kind: RecordKind::Frame, partition: 1, offset: 7, offsets_restart: false, record }
    }

    fn frame(camera: &str) -> RecordWithOffset {
        let frame = format!(
            r#"{{"schema": "lookout.frame/1", "camera": "{camera}", "worker": "w", "epoch": 0,
            "session": "01JDFY9M4K8Z6Q2W3X5V7T9R1P", "seq": 1, "pts_ns": null, "age_ms": 0,
            "captured_at": "2026-11-24T08:00:00Z", "clock": "rtcp", "published_at": "2026-11-24T08:00:00Z",
            "timing_us": {{"decode": 0, "queue": 0, "infer": 0, "post": 0}}, "source": {{"width": 64, "height": 48}},
            "model": {{"arch": "a", "weights": "w", "precision": "p"}}}}"#
        );
        placed(ReadRecord::Frame(serde_json::from_str(&frame).unwrap()))
    }

    #[test]
    fn counts_every_record_by_outcome() {
        let mut cameras = cameras("[adas]\n[[camera]]\nid = \"front\"");
        let now = Timestamp::now();
        let (topic, reason) = ("t".to_owned(), "not JSON".to_owned());
        cameras.receive(placed(ReadRecord::Unreadable { topic, partition: 1, offset: 7, reason }), now);
        cameras.receive(frame("rear"), now);
        cameras.receive(frame("front"), now);
        cameras.receive(frame("front"), now);
        cameras.receive(frame("front"), "2026-11-24T07:00:00Z".parse().unwrap());
        let counts = outcomes().map(|outcome| (outcome, cameras.metrics.records(outcome)));
        let counts: Vec<_> = counts.filter(|(_, records)| *records > 0).collect();
        let expected =
            [("stale", 1), ("future", 1), ("duplicate", 1), ("unreadable", 1), ("not_configured", 1)];
        assert_eq!(counts, expected);
        let text = cameras.metrics.scrape().unwrap();
        assert!(text.contains("lookout_adas_records_total{outcome=\"stale\"} 1"), "{text}");
    }

    #[test]
    fn accepts_lower_epochs_from_a_recreated_topic() {
        let mut cameras = cameras("[adas]\n[[camera]]\nid = \"*\"");
        let now: Timestamp = "2026-11-24T08:00:00.1Z".parse().unwrap();
        let of_epoch = |epoch, offsets_restart| {
            let mut placed = frame("front");
            let ReadRecord::Frame(frame) = &mut placed.record else { panic!("not a frame") };
            (frame.epoch, frame.seq) = (lookout_schema::Epoch(epoch), epoch);
            RecordWithOffset { offsets_restart, ..placed }
        };
        let accepted = |cameras: &Cameras| cameras.metrics.records(Outcome::Accepted.as_str());
        cameras.receive(of_epoch(9, false), now);
        cameras.receive(of_epoch(3, false), now);
        assert_eq!(accepted(&cameras), 1);
        cameras.receive(of_epoch(3, true), now);
        cameras.receive(of_epoch(4, false), now);
        assert_eq!(accepted(&cameras), 3);
    }

    #[test]
    fn forgets_silent_cameras_and_cameras_of_lost_partitions() {
        let mut cameras = cameras("[adas]\n[[camera]]\nid = \"*\"");
        let now = Timestamp::now();
        cameras.receive(frame("a"), now);
        cameras.receive(RecordWithOffset { partition: 2, ..frame("b") }, now);
        cameras.lose(&[1], now);
        assert_eq!(cameras.watched.len(), 1);
        cameras.tick(now + FORGET_AFTER);
        assert_eq!(cameras.watched.len(), 1);
        cameras.tick(now + FORGET_AFTER + Duration::from_secs(1));
        assert_eq!(cameras.watched.len(), 0);
    }
}
