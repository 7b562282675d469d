//! One forward camera: its records in, warnings and tracks out.

mod alerts;

use std::{collections::BTreeMap, time::Duration};

use lookout_config::{ForwardSettings, PathSettings};
use lookout_schema::{
    AlertLevel, AlertRecord, BBox, CameraId, Detection, FrameRecord, Size, Timestamp, TrackRecord,
};
use lookout_track::{Closing, Follower, Passed, Sight, TimeDoubt, TrackId, TrackerSettings};

use self::alerts::{Alerts, Of, Over};
use crate::{
    age::Age,
    corridor::Corridor,
    ground::Ground,
    growth::is_whole,
    object::{Object, View},
};

/// What is written as `tracker` in tracks and as `consumer` in alerts.
pub(crate) const NAME: &str = "adas";

/// The most objects of a frame that are looked at, the surest first.
const MAX_OBJECTS: usize = 200;

/// An object that was not seen for so long is gone, and one that could not be measured for so long is not warned of
/// any more.
const LOST_S: f64 = 1.0;
const UNMEASURED_S: f64 = 2.0;

/// A track begins where one was lost if their boxes overlap as much as this.
const MIN_OVERLAP: f64 = 0.3;

/// Without a record that is young enough a warning lasts for so long.
const BLIND_FOR: Duration = Duration::from_millis(500);

/// What a vehicle's records are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Age above which a record warns of nothing.
    pub latency_budget: Duration,
}

/// Follows what is before one camera.
#[derive(Debug)]
pub struct Vehicle {
    settings: ForwardSettings,
    limits: Limits,
    follower: Follower,
    view: Option<(Size, View)>,
    objects: BTreeMap<TrackId, Object>,
    alerts: Alerts,
    /// When a record came last that was young enough.
    fresh_at: Option<Timestamp>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Heard,
    /// It is older than the latency budget: what it shows is followed, and nothing is warned of.
    Stale,
    /// Its times are later than now: it is not believed.
    Future,
    /// It is from an owner that had lost the camera.
    OldEpoch,
    /// It was heard before, or comes after one that is later.
    Doubled,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Heard, Self::Stale, Self::Future, Self::OldEpoch, Self::Doubled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::OldEpoch => "old_epoch",
            Self::Doubled => "doubled",
        }
    }
}

/// What a record says. The records' `published_at` and `age_ms` are set when they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub outcome: Outcome,
    pub alerts: Vec<AlertRecord>,
    pub tracks: Vec<TrackRecord>,
    /// Which of the camera's times is not believed from now on, where that has changed: none where they agree again.
    pub doubt: Option<Option<TimeDoubt>>,
}

impl Heard {
    fn passed(outcome: Outcome) -> Self {
        Self { outcome, alerts: Vec::new(), tracks: Vec::new(), doubt: None }
    }
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub id: TrackId,
    pub label: String,
    pub bbox: BBox,
    pub closing: Option<Closing>,
    /// How probable it is that it will be in the vehicle's way when it is here.
    pub in_path: f64,
    /// Where the camera's mounting is known.
    pub distance_m: Option<f64>,
    pub closing_m_s: Option<f64>,
    pub level: Option<AlertLevel>,
}

impl Vehicle {
    pub fn new(camera: CameraId, settings: ForwardSettings, limits: Limits) -> Self {
        Self {
            settings,
            limits,
            follower: Follower::new(NAME, TrackerSettings::default()),
            view: None,
            objects: BTreeMap::new(),
            alerts: Alerts::new(camera),
            fresh_at: None,
        }
    }

    /// Takes the camera's next record, which came at `now`.
    pub fn hear(&mut self, mut frame: FrameRecord, now: Timestamp) -> Heard {
        let age = Age::of(&frame, now, self.limits.latency_budget);
        if age == Age::Future {
            return Heard::passed(Outcome::Future);
        }
        keep_surest(&mut frame.detections, &self.settings);
        let sight = match self.follower.hear(&frame) {
            Ok(sight) => sight,
            Err(Passed::OldEpoch) => return Heard::passed(Outcome::OldEpoch),
            Err(Passed::Doubled) => return Heard::passed(Outcome::Doubled),
        };
        let mut alerts = Vec::new();
        if sight.began {
            let over = if sight.doubt.is_some() { Over::OtherClock } else { Over::NewSession };
            alerts.extend(self.alerts.clear_all(over, now));
            self.objects.clear();
        }
        self.measure(&frame, &sight, age, &mut alerts);
        self.forget(&frame, &sight, &mut alerts);
        match age {
            Age::Fresh { .. } => self.fresh_at = Some(now),
            Age::Stale | Age::Future => alerts.extend(self.clear_blind(now, Over::Stale)),
        }
        let outcome = if age == Age::Stale { Outcome::Stale } else { Outcome::Heard };
        Heard { outcome, alerts, tracks: sight.records, doubt: sight.doubt }
    }

    /// Clears what no record speaks of any more. To be called now and then.
    pub fn tick(&mut self, now: Timestamp) -> Vec<AlertRecord> {
        self.clear_blind(now, Over::Silence)
    }

    /// Ends all that is open: the camera is not watched any more.
    pub fn finish(&mut self, now: Timestamp) -> (Vec<AlertRecord>, Vec<TrackRecord>) {
        self.objects.clear();
        (self.alerts.clear_all(Over::Left, now), self.follower.finish())
    }

    /// What is known of the objects before the camera.
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
                closing_m_s: distance.map(|(_, closing)| closing),
                level: object.warning.level(),
            }
        })
    }

    /// Alerts that were raised and not cleared.
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

    fn measure(&mut self, frame: &FrameRecord, sight: &Sight, age: Age, alerts: &mut Vec<AlertRecord>) {
        let view = self.view(frame.source);
        for track in &sight.tracks {
            let Some(detection) = track.seen.and_then(|seen| frame.detections.get(seen)) else { continue };
            if !self.objects.contains_key(&track.id) {
                self.begin(track.id, detection, sight);
            }
            let Some(object) = self.objects.get_mut(&track.id) else { continue };
            object.bbox = detection.bbox;
            object.score = detection.score;
            object.seen_s = sight.at_s;
            let high = f64::from(detection.bbox.y2 - detection.bbox.y1) >= self.settings.min_box_px;
            let measured =
                is_whole(detection.bbox, frame.source) && object.measure(sight.at_s, detection.bbox, &view);
            let Age::Fresh { seconds } = age else { continue };
            if let Some(danger) = object.danger(seconds).filter(|_| measured && high) {
                let level = object.warning.step(sight.at_s, &danger, &self.settings.levels);
                alerts.extend(self.alerts.set(Of { id: track.id, object, frame }, level));
            }
        }
    }

    /// A track begins: of an object that is new, or of one whose track was lost where it grew faster than was
    /// expected of it. That one goes on, for what comes so fast must not be watched anew.
    fn begin(&mut self, id: TrackId, detection: &Detection, sight: &Sight) {
        let seen = |id: &TrackId| sight.tracks.iter().any(|track| track.id == *id && track.seen.is_some());
        let lost = self.objects.iter().filter(|(id, _)| !seen(id));
        let overlaps = lost.map(|(id, object)| (*id, object.overlap(sight.at_s, detection)));
        let best = overlaps.max_by(|(_, a), (_, b)| a.total_cmp(b));
        let heir = best.filter(|(_, overlap)| *overlap >= MIN_OVERLAP).map(|(lost, _)| lost);
        let object = match heir.and_then(|lost| Some((lost, self.objects.remove(&lost)?))) {
            Some((lost, object)) => {
                self.alerts.inherit(lost, id);
                object
            }
            None => Object::new(sight.at_s, detection.label.clone(), detection.bbox),
        };
        self.objects.insert(id, object);
    }

    /// Lets go of what is out of sight, and of warnings of what cannot be measured.
    fn forget(&mut self, frame: &FrameRecord, sight: &Sight, alerts: &mut Vec<AlertRecord>) {
        self.objects.retain(|id, object| {
            let lost = sight.at_s - object.seen_s > LOST_S;
            if lost || sight.at_s - object.measured_s > UNMEASURED_S {
                let over = if lost { Over::OutOfSight } else { Over::Unmeasured };
                alerts.extend(self.alerts.clear(*id, over, frame));
                object.warning.clear();
            }
            !lost
        });
    }

    /// Clears all where no record was young enough for too long.
    fn clear_blind(&mut self, now: Timestamp, over: Over) -> Vec<AlertRecord> {
        let since = |at: Timestamp| now.ms_since(at) > BLIND_FOR.as_millis() as i64;
        if self.alerts.open() == 0 || !self.fresh_at.is_none_or(since) {
            return Vec::new();
        }
        self.objects.values_mut().for_each(|object| object.warning.clear());
        self.alerts.clear_all(over, now)
    }
}

/// Leaves the objects that are warned of, and no more than can be followed in time.
fn keep_surest(detections: &mut Vec<Detection>, settings: &ForwardSettings) {
    detections.retain(|seen| settings.labels.contains(&seen.label));
    if detections.len() > MAX_OBJECTS {
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        detections.truncate(MAX_OBJECTS);
    }
}
