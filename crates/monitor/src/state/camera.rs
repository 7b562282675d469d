//! The state of one camera.

use std::collections::BTreeMap;

use lookout_config::RuleSubject;
use lookout_schema::{
    AlertRecord, CameraId, CameraSpec, CameraStatus, CameraStatusRecord, Clock, Epoch, FrameRecord,
    LineDirection, Region, SessionId, Size, Timestamp, WorkerId,
};
use lookout_track::{SessionTracker, TimestampConflict, TrackerSettings};
use serde::{Deserialize, Serialize};

use super::{
    applied_offsets::AppliedOffsets,
    bucket::{Bucket, counts, minute},
    ignored::IgnoreCause,
    liveness::Liveness,
    outbound::Outbound,
};
use crate::rules::{ActiveRules, CONSUMER, CameraDown, FrameInput, RuleSettings, Subject};

/// The state of one camera. All fields except the skipped ones are stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Camera {
    pub(crate) id: CameraId,
    pub(crate) applied_offsets: AppliedOffsets,
    #[serde(with = "kept")]
    pub(crate) session_tracker: SessionTracker,
    pub(crate) status: Option<CameraStatusRecord>,
    /// Since when its status says that it gives no frames: by the local clock, and by the record's clock.
    down: Option<(Timestamp, Timestamp)>,
    pub(crate) pulse: Liveness,
    pub(crate) last_frame: Option<LastFrame>,
    pub(crate) bucket: Bucket,
    /// The numbers of crossings from left to right and from right to left, by line.
    pub(crate) line_totals: BTreeMap<String, [u64; 2]>,
    rules: ActiveRules,
    pub(crate) places: CameraPlaces,
    /// Whether the zones and lines come from the registry and not from the monitor's file.
    pub(crate) enlisted: bool,
    #[serde(skip)]
    pub(crate) live: VolatileState,
}

/// The part of a camera's state that is not stored.
#[derive(Debug, Default)]
pub(crate) struct VolatileState {
    pub(crate) spec: Option<Box<CameraSpec>>,
    /// Whether the camera was removed from the registry.
    pub(crate) removed: bool,
    /// Whether there are changes to store.
    pub(crate) dirty: bool,
    /// Whether its results are part of the next commit, so that its whole state must be, too.
    pub(crate) due: bool,
    /// Whether the topic of its frames, or of its status, was recreated since the last record.
    pub(crate) frames_restarted: bool,
    pub(crate) status_restarted: bool,
    /// Whether it changed since the last update of the web page.
    pub(crate) fresh: bool,
    pub(crate) counts: BTreeMap<String, u64>,
    /// The frames since the last measurement of the rate, and the smoothed rate in frames per second.
    pub(crate) frames: u64,
    pub(crate) fps: f64,
}

/// The zones and lines of a camera's image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CameraPlaces {
    pub(crate) zones: BTreeMap<String, Region>,
    pub(crate) lines: BTreeMap<String, [[f32; 2]; 2]>,
}

/// The fields of the last frame record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastFrame {
    pub(crate) captured_at: Timestamp,
    pub(crate) worker: WorkerId,
    pub(crate) epoch: Epoch,
    pub(crate) session: SessionId,
    pub(crate) age_ms: i64,
    pub(crate) clock: Clock,
    pub(crate) source: Size,
}

/// The maximum number of zones, and of lines, per camera. Others are ignored.
const MAX_PLACES: usize = 64;
const MAX_PLACE_NAME: usize = 128;
/// The maximum number of detections per frame for the tracker. The tracker compares each detection with each
/// object, so a hostile record full of detections would stall the consumer loop.
const MAX_TRACKED: usize = 256;

/// The settings of the tracker, and the rules.
#[derive(Debug, Clone)]
pub(crate) struct EvaluationSettings {
    pub(crate) tracker: TrackerSettings,
    /// Minimum score of the detections that are counted.
    pub(crate) count_score: f32,
    pub(crate) rules: Vec<RuleSettings>,
}

impl Camera {
    pub(crate) fn new(id: CameraId, ways: &EvaluationSettings, places: CameraPlaces) -> Self {
        let mut camera = Self {
            id,
            applied_offsets: AppliedOffsets::default(),
            session_tracker: SessionTracker::new(CONSUMER, ways.tracker),
            status: None,
            down: None,
            pulse: Liveness::default(),
            last_frame: None,
            bucket: Bucket::default(),
            line_totals: BTreeMap::new(),
            rules: ActiveRules::default(),
            places: CameraPlaces::default(),
            enlisted: false,
            live: VolatileState::default(),
        };
        camera.set_places(places);
        camera.set_rules(ways, Timestamp::from_unix_us(0));
        camera
    }

    /// Resumes after a restart with the current rules. Returns the alerts of removed rules, cancelled.
    pub(crate) fn resume(&mut self, ways: &EvaluationSettings, now: Timestamp) -> Vec<AlertRecord> {
        self.session_tracker = SessionTracker::resume(CONSUMER, ways.tracker, self.session_tracker.state());
        self.live.dirty = true;
        self.set_rules(ways, now)
    }

    fn set_rules(&mut self, ways: &EvaluationSettings, now: Timestamp) -> Vec<AlertRecord> {
        self.rules.set(&ways.rules, (RuleSubject::Camera, self.id.as_str()), now)
    }

    pub(crate) fn set_places(&mut self, places: CameraPlaces) {
        let sound = |name: &String| name.len() <= MAX_PLACE_NAME;
        let zones = places.zones.into_iter().filter(|(name, _)| sound(name)).take(MAX_PLACES).collect();
        let lines = places.lines.into_iter().filter(|(name, _)| sound(name)).take(MAX_PLACES).collect();
        let places = CameraPlaces { zones, lines };
        if places != self.places {
            self.session_tracker.set_places(&places.zones, &places.lines);
            self.line_totals.retain(|name, _| places.lines.contains_key(name));
            self.places = places;
            self.live.dirty = true;
        }
    }

    /// Applies the camera's registry record.
    pub(crate) fn enlist(&mut self, spec: &CameraSpec) {
        self.live.removed = false;
        self.enlisted = true;
        self.live.fresh = true;
        self.live.spec = Some(Box::new(spec.clone()));
        self.set_places(CameraPlaces { zones: spec.zones.clone(), lines: spec.lines.clone() });
    }

    /// Handles the removal from the registry. `file` holds the zones and lines that the monitor's file has
    /// for the camera.
    pub(crate) fn strike(&mut self, file: CameraPlaces) {
        self.live.removed |= self.live.spec.take().is_some();
        self.live.fresh = true;
        self.enlisted = false;
        self.set_places(file);
    }

    /// Applies the camera's next frame and adds the results to `outbound`.
    ///
    /// # Errors
    /// Why the record is ignored.
    pub(crate) fn apply_frame(
        &mut self,
        frame: &FrameRecord,
        ways: &EvaluationSettings,
        now: Timestamp,
        outbound: &mut Outbound,
    ) -> Result<(), IgnoreCause> {
        if std::mem::take(&mut self.live.frames_restarted) && frame.epoch < self.session_tracker.epoch() {
            outbound.tracks.append(&mut self.session_tracker.finish());
            self.session_tracker = SessionTracker::new(CONSUMER, ways.tracker);
            self.session_tracker.set_places(&self.places.zones, &self.places.lines);
        }
        let tracked = if frame.detections.len() > MAX_TRACKED {
            self.session_tracker.process(&thinned(frame))
        } else {
            self.session_tracker.process(frame)
        };
        let mut tracked = tracked?;
        if let Some(doubt) = tracked.doubt {
            let (camera, not_believed) = (&self.id, doubt.map(TimestampConflict::field));
            match not_believed {
                None => tracing::info!(%camera, "the camera's `pts_ns` and `captured_at` agree again"),
                Some(not_believed) => {
                    outbound.doubts.push(not_believed);
                    tracing::warn!(
                        %camera,
                        not_believed,
                        "the camera's `pts_ns` and `captured_at` advance at different rates, one of them is ignored"
                    );
                }
            }
        }
        self.live.dirty = true;
        self.live.fresh = true;
        self.live.frames += 1;
        self.live.counts = counts(frame, ways.count_score);
        let minute = minute(frame);
        if minute > self.bucket.minute {
            self.close_bucket(minute, outbound);
        }
        self.bucket.add(frame, &self.live.counts);
        for (line, crossing) in &tracked.crossings {
            let totals = self.line_totals.entry(line.clone()).or_default();
            match crossing.direction {
                LineDirection::LeftToRight => totals[0] += 1,
                LineDirection::RightToLeft => totals[1] += 1,
            }
        }
        outbound.tracks.append(&mut tracked.records);
        let scene = FrameInput::new(frame, &tracked, &self.session_tracker);
        let mut alerts = self.rules.frame(&ways.rules, &scene);
        self.live.due |= !alerts.is_empty();
        outbound.alerts.append(&mut alerts);
        self.pulse.observe(frame.published_at, now);
        self.last_frame = Some(LastFrame {
            captured_at: frame.captured_at,
            worker: frame.worker.clone(),
            epoch: frame.epoch,
            session: frame.session,
            age_ms: frame.age_ms,
            clock: frame.clock,
            source: frame.source,
        });
        Ok(())
    }

    /// Applies the camera's next status. Returns `false` if it is from a former owner of the camera.
    pub(crate) fn apply_status(&mut self, status: CameraStatusRecord, now: Timestamp) -> bool {
        let is_restarted = std::mem::take(&mut self.live.status_restarted);
        let epoch = self.status.as_ref().map(|known| known.epoch).max(Some(self.session_tracker.epoch()));
        if !is_restarted && epoch.is_some_and(|known| status.epoch < known) {
            return false;
        }
        let same = self.status.as_ref().is_some_and(|known| known.status == status.status);
        self.pulse.beat(status.at, now, same);
        let up = matches!(status.status, CameraStatus::Running | CameraStatus::Ended);
        if up {
            self.down = None;
        } else {
            self.down.get_or_insert((self.pulse.received_at, status.at));
        }
        self.live.dirty = true;
        self.live.fresh = true;
        self.status = Some(status);
        true
    }

    pub(crate) fn close_bucket(&mut self, minute: i64, outbound: &mut Outbound) {
        let closed = std::mem::replace(&mut self.bucket, Bucket::new(minute));
        if closed.frames > 0 {
            self.live.due = true;
            outbound.buckets.push((self.id.clone(), closed));
        }
    }

    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.pulse.is_silent(now)
    }

    /// Returns the reason if the camera should give frames and does not.
    fn down(&self, now: Timestamp) -> Option<CameraDown> {
        let status = self.status.as_ref()?;
        if self.live.removed || self.live.spec.as_ref().is_some_and(|spec| !spec.enabled) {
            return None;
        }
        let (status, detail) = (status.status, status.detail.clone());
        if let Some((since, last_record_at)) = self.down {
            return Some(CameraDown { since, last_record_at, status, detail });
        }
        let silent = self.is_silent(now) && status != CameraStatus::Ended;
        let detail = Some("no records are received".into());
        let (since, last_record_at) = (self.pulse.received_at, self.pulse.record_at);
        silent.then_some(CameraDown { since, last_record_at, status, detail })
    }

    /// Evaluates the rules that depend on the time.
    pub(crate) fn tick(&mut self, ways: &EvaluationSettings, now: Timestamp, outbound: &mut Outbound) {
        let down = self.down(now);
        let subject = Subject::Camera { id: &self.id, down: down.as_ref() };
        let mut alerts = self.rules.tick(&ways.rules, subject, now);
        self.live.dirty |= !alerts.is_empty();
        self.live.due |= !alerts.is_empty();
        outbound.alerts.append(&mut alerts);
    }

    /// Cancels the open alerts and ends the tracks of a camera that is removed from the state.
    pub(crate) fn give_up(&mut self, now: Timestamp, outbound: &mut Outbound) {
        outbound.alerts.append(&mut self.rules.cancel(now, "the camera was removed"));
        outbound.tracks.append(&mut self.session_tracker.finish());
    }
}

/// Returns a copy of the frame with the `MAX_TRACKED` detections of the highest scores.
fn thinned(frame: &FrameRecord) -> FrameRecord {
    let mut frame = frame.clone();
    frame.detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    frame.detections.truncate(MAX_TRACKED);
    frame
}

/// Serialization of the session tracker's state. Its settings are not stored; they are set again on resume.
mod kept {
    use lookout_track::{SessionTracker, SessionTrackerState, TrackerSettings};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        session_tracker: &SessionTracker,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        session_tracker.state().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SessionTracker, D::Error> {
        let state = SessionTrackerState::deserialize(deserializer)?;
        Ok(SessionTracker::resume(super::CONSUMER, TrackerSettings::default(), state))
    }
}
