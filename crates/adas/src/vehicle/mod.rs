//! The state of one forward-facing camera: takes its records, returns warnings and tracks.

mod alerts;

use std::{collections::BTreeMap, time::Duration};

use lookout_config::{ForwardSettings, PathSettings};
use lookout_schema::{
    AlertLevel, AlertRecord, BBox, CameraId, Detection, FrameRecord, Size, Timestamp, TrackRecord,
};
use lookout_track::{
    IgnoreCause, SessionTracker, TimestampConflict, TrackId, TrackedFrame, TrackerSettings, TtcEstimate,
};

use self::alerts::{Alerts, Of, Over};
use crate::{
    corridor::Corridor,
    expansion_rate::is_whole,
    ground::Ground,
    object::{Object, View},
    record_age::RecordAge,
};

/// The `tracker` in track records and the `consumer` in alert records.
pub(crate) const NAME: &str = "adas";

/// The maximum number of detections per frame that are processed, highest scores first.
const MAX_OBJECTS: usize = 200;

/// An object that was undetected for `LOST_S` is removed. The alert of an object that could not be measured
/// for `UNMEASURED_S` is cleared.
const LOST_S: f64 = 1.0;
const UNMEASURED_S: f64 = 2.0;

/// The minimum overlap (IoU) at which a new track continues an object whose track was lost.
const MIN_OVERLAP: f64 = 0.3;

/// How long alerts stay open without a fresh record.
const BLIND_FOR: Duration = Duration::from_millis(500);

/// The limits that a camera's records must meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The age above which a record raises no warning.
    pub latency_budget: Duration,
}

/// The ego camera: tracks the objects ahead of one vehicle camera and warns of collisions.
#[derive(Debug)]
pub struct EgoCamera {
    settings: ForwardSettings,
    limits: Limits,
    session_tracker: SessionTracker,
    view: Option<(Size, View)>,
    objects: BTreeMap<TrackId, Object>,
    alerts: Alerts,
    /// When the last fresh record was received.
    fresh_at: Option<Timestamp>,
}

/// The outcome of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Accepted,
    /// The record is older than the latency budget: its objects are tracked, but raise no warning.
    Stale,
    /// The record's times are later than now, so it is ignored.
    Future,
    /// The record is from a former owner of the camera.
    StaleEpoch,
    /// The record was already processed, or is older than a processed one.
    Duplicate,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Accepted, Self::Stale, Self::Future, Self::StaleEpoch, Self::Duplicate];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::StaleEpoch => "stale_epoch",
            Self::Duplicate => "duplicate",
        }
    }
}

/// The result of a record. `published_at` and `age_ms` of the contained records are set when they are
/// written.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    pub outcome: Outcome,
    pub alerts: Vec<AlertRecord>,
    pub tracks: Vec<TrackRecord>,
    /// The camera time that is no longer trusted from now on, if that has changed; `Some(None)` if the times
    /// agree again.
    pub doubt: Option<Option<TimestampConflict>>,
}

impl Assessment {
    fn passed(outcome: Outcome) -> Self {
        Self { outcome, alerts: Vec::new(), tracks: Vec::new(), doubt: None }
    }
}

/// The current estimate for an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub id: TrackId,
    pub label: String,
    pub bbox: BBox,
    pub closing: Option<TtcEstimate>,
    /// The probability that the object is in the vehicle's path at the time of collision.
    pub in_path: f64,
    /// The distance in meters; `None` if the camera is not calibrated.
    pub distance_m: Option<f64>,
    pub closing_speed_m_s: Option<f64>,
    pub level: Option<AlertLevel>,
}

impl EgoCamera {
    pub fn new(camera: CameraId, settings: ForwardSettings, limits: Limits) -> Self {
        let tracker = TrackerSettings { algorithm: settings.tracker, ..TrackerSettings::default() };
        Self {
            settings,
            limits,
            session_tracker: SessionTracker::new(NAME, tracker),
            view: None,
            objects: BTreeMap::new(),
            alerts: Alerts::new(camera),
            fresh_at: None,
        }
    }

    /// Processes the camera's next record, which was received at `now`.
    pub fn process(&mut self, mut frame: FrameRecord, now: Timestamp) -> Assessment {
        let age = RecordAge::of(&frame, now, self.limits.latency_budget);
        if age == RecordAge::Future {
            return Assessment::passed(Outcome::Future);
        }
        keep_surest(&mut frame.detections, &self.settings);
        let tracked = match self.session_tracker.process(&frame) {
            Ok(tracked) => tracked,
            Err(IgnoreCause::StaleEpoch) => return Assessment::passed(Outcome::StaleEpoch),
            Err(IgnoreCause::Duplicate) => return Assessment::passed(Outcome::Duplicate),
        };
        let mut alerts = Vec::new();
        if tracked.restarted {
            let over = if tracked.doubt.is_some() { Over::OtherClock } else { Over::NewSession };
            alerts.extend(self.alerts.clear_all(over, now));
            self.objects.clear();
        }
        self.measure(&frame, &tracked, age, &mut alerts);
        self.forget(&frame, &tracked, &mut alerts);
        match age {
            RecordAge::Fresh { .. } => self.fresh_at = Some(now),
            RecordAge::Stale | RecordAge::Future => alerts.extend(self.clear_blind(now, Over::Stale)),
        }
        let outcome = if age == RecordAge::Stale { Outcome::Stale } else { Outcome::Accepted };
        Assessment { outcome, alerts, tracks: tracked.records, doubt: tracked.doubt }
    }

    /// Clears the alerts if no fresh record has arrived for too long. Callers must call it regularly.
    pub fn tick(&mut self, now: Timestamp) -> Vec<AlertRecord> {
        self.clear_blind(now, Over::Silence)
    }

    /// Ends all alerts and tracks, because the camera is no longer watched.
    pub fn finish(&mut self, now: Timestamp) -> (Vec<AlertRecord>, Vec<TrackRecord>) {
        self.objects.clear();
        (self.alerts.clear_all(Over::Left, now), self.session_tracker.finish())
    }

    /// Returns the current estimates for the objects ahead of the camera.
    pub fn seen(&self) -> impl Iterator<Item = Seen> {
        self.objects.iter().map(|(id, object)| {
            let distance = object.distance();
            Seen {
                id: *id,
                label: object.label.clone(),
                bbox: object.bbox,
                closing: object.closing(),
                in_path: object.danger(0.0).map_or(0.0, |danger| danger.in_path),
                distance_m: distance.map(|(meters, _)| meters),
                closing_speed_m_s: distance.map(|(_, closing)| closing),
                level: object.warning.level(),
            }
        })
    }

    /// Returns the number of alerts that were raised and not cleared.
    pub fn open_alerts(&self) -> usize {
        self.alerts.open()
    }

    fn view(&mut self, source: Size) -> View {
        match self.view {
            Some((size, view)) if size == source => view,
            _ => {
                let ground = match &self.settings.path {
                    PathSettings::Calibrated(calibration) => Some(Ground::new(calibration, source)),
                    PathSettings::Drawn(_) => None,
                };
                let view = View { corridor: Corridor::new(&self.settings.path, source), ground };
                self.view = Some((source, view));
                view
            }
        }
    }

    fn measure(
        &mut self,
        frame: &FrameRecord,
        tracked: &TrackedFrame,
        age: RecordAge,
        alerts: &mut Vec<AlertRecord>,
    ) {
        let view = self.view(frame.source);
        for track in &tracked.tracks {
            let Some(detection) = track.seen.and_then(|seen| frame.detections.get(seen)) else { continue };
            if !self.objects.contains_key(&track.id) {
                self.start_object(track.id, detection, tracked);
            }
            let Some(object) = self.objects.get_mut(&track.id) else { continue };
            object.bbox = detection.bbox;
            object.score = detection.score;
            object.seen_s = tracked.at_s;
            let high = f64::from(detection.bbox.y2 - detection.bbox.y1) >= self.settings.min_box_px;
            let measured =
                is_whole(detection.bbox, frame.source) && object.measure(tracked.at_s, detection.bbox, &view);
            let RecordAge::Fresh { seconds } = age else { continue };
            if let Some(danger) = object.danger(seconds).filter(|_| measured && high) {
                let level = object.warning.step(tracked.at_s, &danger, &self.settings.levels);
                alerts.extend(self.alerts.set(Of { id: track.id, object, frame }, level));
            }
        }
    }

    /// Starts an object for a new track. If the track continues a lost one, whose object grew faster than
    /// predicted, the object's state and alert are kept, because a fast-approaching object must not be
    /// observed from the start again.
    fn start_object(&mut self, id: TrackId, detection: &Detection, tracked: &TrackedFrame) {
        let seen = |id: &TrackId| tracked.tracks.iter().any(|track| track.id == *id && track.seen.is_some());
        let lost = self.objects.iter().filter(|(id, _)| !seen(id));
        let overlaps = lost.map(|(id, object)| (*id, object.overlap(tracked.at_s, detection)));
        let best = overlaps.max_by(|(_, a), (_, b)| a.total_cmp(b));
        let heir = best.filter(|(_, overlap)| *overlap >= MIN_OVERLAP).map(|(lost, _)| lost);
        let object = match heir.and_then(|lost| Some((lost, self.objects.remove(&lost)?))) {
            Some((lost, object)) => {
                self.alerts.inherit(lost, id);
                object
            }
            None => Object::new(tracked.at_s, detection.label.clone(), detection.bbox),
        };
        self.objects.insert(id, object);
    }

    /// Removes objects that are out of sight, and clears the alerts of objects that cannot be measured.
    fn forget(&mut self, frame: &FrameRecord, tracked: &TrackedFrame, alerts: &mut Vec<AlertRecord>) {
        self.objects.retain(|id, object| {
            let lost = tracked.at_s - object.seen_s > LOST_S;
            if lost || tracked.at_s - object.measured_s > UNMEASURED_S {
                let over = if lost { Over::OutOfSight } else { Over::Unmeasured };
                alerts.extend(self.alerts.clear(*id, over, frame));
                object.warning.clear();
            }
            !lost
        });
    }

    /// Clears all alerts if no record was fresh for too long.
    fn clear_blind(&mut self, now: Timestamp, over: Over) -> Vec<AlertRecord> {
        let since = |at: Timestamp| now.ms_since(at) > BLIND_FOR.as_millis() as i64;
        if self.alerts.open() == 0 || !self.fresh_at.is_none_or(since) {
            return Vec::new();
        }
        self.objects.values_mut().for_each(|object| object.warning.clear());
        self.alerts.clear_all(over, now)
    }
}

/// Keeps the detections whose labels raise warnings, and at most [`MAX_OBJECTS`] of them.
fn keep_surest(detections: &mut Vec<Detection>, settings: &ForwardSettings) {
    detections.retain(|seen| settings.labels.contains(&seen.label));
    if detections.len() > MAX_OBJECTS {
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        detections.truncate(MAX_OBJECTS);
    }
}
