//! Metrics of the records, computed with the ground truth.

use std::{collections::BTreeMap, time::Duration};

use lookout_adas::{EgoCamera, Limits};
use lookout_config::ForwardSettings;
use lookout_measure::{CocoEvaluation, FoundObject, IgnoredAre, Tracked, TrackingEvaluation};
use lookout_schema::{BBox, CameraId, Clock, FrameRecord, SessionId, Timestamp};
use lookout_track::{SessionTracker, TrackId, TrackerSettings};

use super::truth::{CLASSES, ShownFrame, ShownFrames, ShownObject};

/// Minimum IoU of two boxes of the same object.
const SAME: f64 = 0.5;

/// Range of the true times to collision that are evaluated, which is the range that matters for warnings.
const TTC_S: std::ops::RangeInclusive<f64> = 1.0..=6.0;
/// Minimum time for which an object must have been tracked; earlier estimates of the expansion rate are not
/// reliable.
const WATCHED_S: f64 = 1.0;

/// The metrics over all cameras.
pub(super) struct Scores {
    pub(super) objects: CocoEvaluation,
    pub(super) tracks: TrackingEvaluation,
    /// Relative errors of the estimated times to collision, one per object and frame.
    pub(super) ttc_off: Vec<f64>,
    /// Number of times to collision in the ground truth without an estimate.
    pub(super) ttc_missing: usize,
    /// Ages of the records when they were published, in milliseconds.
    pub(super) ages_ms: Vec<u64>,
    /// Number of frames that the cameras sent between their first and last record.
    pub(super) shown: usize,
    /// Number of these frames that have a record.
    pub(super) seen: usize,
    /// Number of records that are not evaluated because their time is not from the camera's clock, or because
    /// no frame in the ground truth has that time.
    pub(super) undated: usize,
}

impl Scores {
    pub(super) fn of(frames: &[FrameRecord], shown: &ShownFrames) -> Self {
        let names = CLASSES.map(str::to_owned).to_vec();
        let mut scores = Self {
            objects: CocoEvaluation::new(names, IgnoredAre::Crowds),
            tracks: TrackingEvaluation::default(),
            ttc_off: Vec::new(),
            ttc_missing: 0,
            ages_ms: Vec::new(),
            shown: 0,
            seen: 0,
            undated: 0,
        };
        let mut cameras: BTreeMap<&CameraId, Vec<&FrameRecord>> = BTreeMap::new();
        for frame in frames {
            cameras.entry(&frame.camera).or_default().push(frame);
        }
        let mut ids = Ids::default();
        for (camera, mut frames) in cameras {
            frames.sort_by_key(|frame| (frame.session, frame.seq));
            scores.camera(camera, &frames, shown, &mut ids);
        }
        scores
    }

    fn camera(&mut self, camera: &CameraId, frames: &[&FrameRecord], shown: &ShownFrames, ids: &mut Ids) {
        let mut session_tracker = SessionTracker::new("eval", TrackerSettings::default());
        let limits = Limits { latency_budget: Duration::MAX };
        let mut vehicle = EgoCamera::new(camera.clone(), ForwardSettings::default(), limits);
        let mut dated: Vec<Timestamp> = Vec::new();
        for frame in frames {
            let tracked = session_tracker.process(frame).unwrap_or_default();
            vehicle.process((*frame).clone(), frame.published_at);
            self.ages_ms.push(frame.age_ms.try_into().unwrap_or(0));
            let here = shown.at(camera.as_str(), frame.captured_at).filter(|_| frame.clock == Clock::Rtcp);
            let Some(here) = here else {
                self.undated += 1;
                continue;
            };
            dated.push(frame.captured_at);
            self.objects(here, frame);
            let tracks =
                tracked.tracks.iter().map(|track| (ids.of(camera, frame.session, track.id), track.bbox));
            self.tracks(here, camera, tracks.collect(), ids);
            self.collisions(here, &vehicle);
        }
        if let (Some(first), Some(last)) = (dated.iter().min(), dated.iter().max()) {
            self.shown += shown.count(camera.as_str(), [*first, *last]);
            self.seen += dated.len();
        }
    }

    fn objects(&mut self, here: &ShownFrame, frame: &FrameRecord) {
        let class = |label: &str| (1..).zip(CLASSES).find(|(_, class)| *class == label).map(|(id, _)| id);
        let found: Vec<FoundObject> = frame
            .detections
            .iter()
            .filter_map(|found| {
                Some(FoundObject { class_id: class(&found.label)?, bbox: found.bbox, score: found.score })
            })
            .collect();
        let truth: Vec<_> = here.objects.iter().map(ShownObject::target).collect();
        self.objects.add(&truth, &found);
    }

    /// Evaluates tracking. Tracks that match only ignored objects are not counted as false positives.
    fn tracks(&mut self, here: &ShownFrame, camera: &CameraId, found: Vec<(u64, BBox)>, ids: &mut Ids) {
        let (ignored, asked): (Vec<_>, Vec<_>) = here.objects.iter().partition(|object| object.ignore);
        let truth: Vec<Tracked> = asked
            .iter()
            .map(|object| Tracked { id: ids.of_object(camera, object.track), bbox: object.bbox })
            .collect();
        let meets = |bbox: BBox, objects: &[&ShownObject]| objects.iter().any(|o| o.bbox.iou(bbox) >= SAME);
        let found: Vec<Tracked> = found
            .into_iter()
            .filter(|(_, bbox)| meets(*bbox, &asked) || !meets(*bbox, &ignored))
            .map(|(id, bbox)| Tracked { id, bbox })
            .collect();
        self.tracks.frame(&truth, &found);
    }

    fn collisions(&mut self, here: &ShownFrame, vehicle: &EgoCamera) {
        for object in here.objects.iter().filter(|object| !object.ignore) {
            let Some(truth) = object.ttc_s.filter(|ttc| TTC_S.contains(ttc)) else { continue };
            let seen = vehicle.seen().find(|seen| seen.bbox.iou(object.bbox) >= SAME);
            let Some(closing) = seen.and_then(|seen| seen.closing).filter(|c| c.observed_s >= WATCHED_S)
            else {
                self.ttc_missing += 1;
                continue;
            };
            match closing.ttc_s {
                Some(ttc) => self.ttc_off.push((ttc - truth).abs() / truth),
                None => self.ttc_missing += 1,
            }
        }
    }
}

/// Assigns ids that are unique over all cameras, to tracks and to objects of the ground truth.
#[derive(Debug, Default)]
struct Ids {
    tracks: BTreeMap<(String, SessionId, u64), u64>,
    objects: BTreeMap<(String, u64), u64>,
}

impl Ids {
    fn of(&mut self, camera: &CameraId, session: SessionId, track: TrackId) -> u64 {
        let next = self.tracks.len() as u64;
        *self.tracks.entry((camera.to_string(), session, track.0)).or_insert(next)
    }

    fn of_object(&mut self, camera: &CameraId, track: u64) -> u64 {
        let next = self.objects.len() as u64;
        *self.objects.entry((camera.to_string(), track)).or_insert(next)
    }
}
