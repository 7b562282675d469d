//! The state of the monitor, derived from records alone. Pure: the time is an argument, and everything to be
//! stored or published is collected for the caller.

mod applied_offsets;
mod bucket;
mod camera;
mod checkpoint;
mod ignored;
mod liveness;
mod outbound;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use lookout_schema::{
    CameraId, CameraSpec, FrameRecord, RecordKind, RegistryRecord, SnapshotRecord, StatusRecord, Timestamp,
    WorkerId, shortened,
};
use lookout_track::TrackerSettings;
use lookout_wire::{Offsets, ReadRecord, RecordWithOffset, TopicIds};

use crate::rules::MonitorSettings;

pub(crate) use self::{
    bucket::{Bucket, minute_of, start_of},
    camera::{Camera, CameraPlaces, EvaluationSettings},
    checkpoint::{Checkpoint, RestoredState},
    ignored::IgnoreCause,
    outbound::Outbound,
    worker::Worker,
};

/// The whole state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ways: EvaluationSettings,
    /// The zones and lines of the monitor's file, for cameras that are not in the registry.
    file: BTreeMap<CameraId, CameraPlaces>,
    pub(crate) cameras: BTreeMap<CameraId, Camera>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// The content of the registry, including cameras without records.
    pub(crate) registry: BTreeMap<CameraId, Box<CameraSpec>>,
    /// The cameras whose every frame is followed by a client.
    pub(crate) watched: BTreeSet<CameraId>,
    /// The next offset of each partition.
    places: Offsets,
    topic_ids: TopicIds,
    /// The offsets from which the store resumes. A partition whose first record has a lower offset was
    /// recreated.
    resume_offsets: Offsets,
    pub(crate) outbound: Outbound,
    pub(crate) counts: Counts,
}

/// Counters of the records.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) read: BTreeMap<RecordKind, u64>,
    /// Records that cannot be read, by topic.
    pub(crate) unreadable: BTreeMap<RecordKind, u64>,
    /// Records that were deleted before they were read, by topic.
    pub(crate) deleted: BTreeMap<RecordKind, u64>,
    /// How often a camera's times started to disagree, by the field that was not trusted.
    pub(crate) doubts: BTreeMap<&'static str, u64>,
    /// Records that were read and ignored, by cause.
    pub(crate) passed: BTreeMap<IgnoreCause, u64>,
    /// The age of the last frame or status when it was applied, in milliseconds.
    pub(crate) lag_ms: i64,
    /// The highest such age since it was last queried.
    pub(crate) oldest_ms: i64,
}

impl Counts {
    fn lag(&mut self, record_at: Timestamp, now: Timestamp) {
        self.lag_ms = now.ms_since(record_at);
        self.oldest_ms = self.oldest_ms.max(self.lag_ms);
    }
}

const MAX_CAMERAS: usize = 10_000;
const MAX_WORKERS: usize = 1_000;
/// The maximum by which a record's time may be ahead of the local clock.
const MAX_AHEAD_MS: i64 = 600_000;
/// The time without records after which a camera or a worker is removed from the state.
const FORGET_MS: i64 = 24 * 3_600_000;
/// The same for a camera that was removed from the registry, whose last records may still arrive.
const FORGET_REMOVED_MS: i64 = 60_000;

impl State {
    pub(crate) fn new(settings: &MonitorSettings) -> Self {
        let tracking = settings.tracking;
        let tracker = TrackerSettings {
            algorithm: tracking.algorithm,
            new_track_thresh: tracking.new_track_thresh,
            max_age_s: tracking.max_age_s,
            predict_s: tracking.predict_s,
            ..TrackerSettings::default()
        };
        let mut file: BTreeMap<CameraId, CameraPlaces> = BTreeMap::new();
        for (camera, zones) in &settings.places.zones {
            file.entry(camera.clone()).or_default().zones = zones.clone();
        }
        for (camera, lines) in &settings.places.lines {
            file.entry(camera.clone()).or_default().lines = lines.clone();
        }
        Self {
            ways: EvaluationSettings {
                tracker,
                count_score: tracking.track_high_thresh,
                rules: settings.rules.clone(),
            },
            file,
            cameras: BTreeMap::new(),
            workers: BTreeMap::new(),
            registry: BTreeMap::new(),
            watched: BTreeSet::new(),
            places: Offsets::new(),
            topic_ids: TopicIds::new(),
            resume_offsets: Offsets::new(),
            outbound: Outbound::default(),
            counts: Counts::default(),
        }
    }

    /// Applies the next record.
    pub(crate) fn apply(&mut self, placed: RecordWithOffset, now: Timestamp) {
        let partition = (placed.kind, placed.partition);
        *self.counts.read.entry(placed.kind).or_default() += 1;
        let starts_before = self.resume_offsets.remove(&partition).is_some_and(|place| placed.offset < place);
        if placed.offsets_restart || starts_before {
            self.start_over(placed.kind, placed.partition);
        }
        self.places.insert(partition, placed.offset + 1);
        if let Err(why) = self.take(placed, now) {
            *self.counts.passed.entry(why).or_default() += 1;
        }
    }

    fn take(&mut self, mut placed: RecordWithOffset, now: Timestamp) -> Result<(), IgnoreCause> {
        let nothing = ReadRecord::Camera { key: String::new(), record: RegistryRecord::Removed };
        match std::mem::replace(&mut placed.record, nothing) {
            ReadRecord::Frame(frame) => self.take_frame(&placed, &frame, now),
            ReadRecord::Status(status) => self.take_status(&placed, *status, now),
            ReadRecord::Snapshot(snapshot) => self.receive_snapshot(*snapshot, now),
            ReadRecord::Alert(alert) => {
                not_ahead(alert.at, now)?;
                self.outbound.read.push(*alert);
                Ok(())
            }
            ReadRecord::Camera { key, record } => {
                if let RegistryRecord::Bad(why) = &record {
                    tracing::debug!(key = shortened(&key), why, "an invalid registry record is ignored");
                    *self.counts.unreadable.entry(placed.kind).or_default() += 1;
                }
                if let Ok(id) = key.parse() {
                    self.take_registry(&id, record);
                }
                Ok(())
            }
            ReadRecord::Track(_) => Ok(()),
            ReadRecord::Unreadable { topic, partition, offset, reason } => {
                tracing::debug!(topic, partition, offset, reason, "an unreadable record is ignored");
                *self.counts.unreadable.entry(placed.kind).or_default() += 1;
                Ok(())
            }
        }
    }

    fn take_frame(
        &mut self,
        placed: &RecordWithOffset,
        frame: &FrameRecord,
        now: Timestamp,
    ) -> Result<(), IgnoreCause> {
        not_ahead(frame.published_at, now)?;
        // A file may be read faster than it plays.
        if frame.clock != lookout_schema::Clock::File {
            not_ahead(frame.captured_at, now)?;
        }
        self.counts.lag(frame.published_at, now);
        let camera = room(&mut self.cameras, &frame.camera, &self.registry, (&self.ways, &self.file))?;
        if !camera.applied_offsets.take(placed) {
            return Err(IgnoreCause::Replayed);
        }
        camera.live.dirty = true;
        camera.apply_frame(frame, &self.ways, now, &mut self.outbound)?;
        for field in self.outbound.doubts.drain(..) {
            *self.counts.doubts.entry(field).or_default() += 1;
        }
        if self.watched.contains(&frame.camera) {
            self.outbound.watched_frames.insert(frame.camera.clone(), frame.seq);
        }
        Ok(())
    }

    fn take_status(
        &mut self,
        placed: &RecordWithOffset,
        status: StatusRecord,
        now: Timestamp,
    ) -> Result<(), IgnoreCause> {
        match status {
            StatusRecord::Camera(status) => {
                not_ahead(status.at, now)?;
                self.counts.lag(status.at, now);
                let camera =
                    room(&mut self.cameras, &status.camera, &self.registry, (&self.ways, &self.file))?;
                if !camera.applied_offsets.take(placed) {
                    return Err(IgnoreCause::Replayed);
                }
                camera.live.dirty = true;
                if camera.apply_status(status, now) { Ok(()) } else { Err(IgnoreCause::StaleEpoch) }
            }
            StatusRecord::Worker(status) => {
                not_ahead(status.at, now)?;
                self.counts.lag(status.at, now);
                if !self.workers.contains_key(&status.worker) {
                    if self.workers.len() >= MAX_WORKERS {
                        return Err(IgnoreCause::Capacity);
                    }
                    self.workers.insert(status.worker.clone(), Worker::new(status.clone(), &self.ways.rules));
                }
                let Some(worker) = self.workers.get_mut(&status.worker) else { return Ok(()) };
                if !worker.applied_offsets.take(placed) {
                    return Err(IgnoreCause::Replayed);
                }
                worker.apply(status, now);
                Ok(())
            }
        }
    }

    fn receive_snapshot(&mut self, snapshot: SnapshotRecord, now: Timestamp) -> Result<(), IgnoreCause> {
        if snapshot.clock != lookout_schema::Clock::File {
            not_ahead(snapshot.captured_at, now)?;
        }
        let camera = room(&mut self.cameras, &snapshot.camera, &self.registry, (&self.ways, &self.file))?;
        if snapshot.epoch < camera.session_tracker.epoch() {
            return Err(IgnoreCause::StaleEpoch);
        }
        camera.live.fresh = true;
        self.outbound.snapshots.push(snapshot);
        Ok(())
    }

    fn take_registry(&mut self, id: &CameraId, record: RegistryRecord) {
        match record {
            RegistryRecord::Camera(spec) => {
                if self.registry.len() >= MAX_CAMERAS && !self.registry.contains_key(id) {
                    return;
                }
                if let Some(camera) = self.cameras.get_mut(id) {
                    camera.enlist(&spec);
                }
                self.registry.insert(id.clone(), spec);
            }
            RegistryRecord::Removed => {
                self.registry.remove(id);
                if let Some(camera) = self.cameras.get_mut(id) {
                    camera.strike(self.file.get(id).cloned().unwrap_or_default());
                }
            }
            RegistryRecord::Bad(_) => {}
        }
    }

    /// Evaluates the absence rules, closes finished minutes and forgets the long absent. Does nothing unless
    /// `caught_up`, that is, unless all records have been read.
    pub(crate) fn tick(&mut self, now: Timestamp, caught_up: bool) {
        if !caught_up {
            return;
        }
        let minute = minute_of(now);
        // Frames of the previous minute may still arrive.
        let over = if minute_of(Timestamp::from_unix_us(now.as_unix_us() - 5_000_000)) == minute {
            minute
        } else {
            minute - 1
        };
        for camera in self.cameras.values_mut() {
            camera.tick(&self.ways, now, &mut self.outbound);
            if camera.bucket.frames > 0 && camera.bucket.minute < over {
                camera.close_bucket(over, &mut self.outbound);
            }
        }
        for worker in self.workers.values_mut() {
            worker.tick(&self.ways.rules, now, &mut self.outbound);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        let long_ago = |at: Timestamp, ms: i64| at.as_unix_us() > 0 && now.ms_since(at) > ms;
        let outbound = &mut self.outbound;
        for (id, mut camera) in self.cameras.extract_if(.., |_, camera| {
            let patience = if camera.live.removed { FORGET_REMOVED_MS } else { FORGET_MS };
            camera.live.spec.is_none() && long_ago(camera.pulse.received_at, patience)
        }) {
            camera.close_bucket(minute_of(now), outbound);
            camera.give_up(now, outbound);
            outbound.gone.push(id);
        }
        for (id, mut worker) in
            self.workers.extract_if(.., |_, worker| long_ago(worker.pulse.received_at, FORGET_MS))
        {
            worker.give_up(now, outbound);
            outbound.gone_workers.push(id);
        }
    }

    /// Measures the frame rate of each camera, `seconds` after the last measurement.
    pub(crate) fn measure(&mut self, seconds: f64) {
        /// The weight of the newest measurement in the smoothed rate.
        const NEW: f64 = 0.3;
        for camera in self.cameras.values_mut() {
            let live = &mut camera.live;
            let now = std::mem::take(&mut live.frames) as f64 / seconds.max(0.001);
            live.fps = if live.fps == 0.0 { now } else { live.fps + NEW * (now - live.fps) };
        }
    }

    /// Handles the recreation of the topic of `kind`: its offsets now belong to other records. Epochs may
    /// restart, too, if the topic of the claims was also recreated.
    fn start_over(&mut self, kind: RecordKind, partition: i32) {
        for camera in self.cameras.values_mut() {
            if camera.applied_offsets.forget(kind, partition) {
                match kind {
                    RecordKind::Frame => camera.live.frames_restarted = true,
                    _ => camera.live.status_restarted = true,
                }
            }
        }
        for worker in self.workers.values_mut() {
            worker.applied_offsets.forget(kind, partition);
        }
    }

    /// Sets the ids of the topics. Drops the offsets of each topic whose id has changed, because their
    /// records are gone.
    pub(crate) fn set_topic_ids(&mut self, ids: &TopicIds) {
        if self.topic_ids == *ids {
            return;
        }
        let is_same = |kind: &RecordKind| {
            self.topic_ids.get(kind).is_none_or(|before| ids.get(kind).is_some_and(|now| now == before))
        };
        self.places.retain(|(kind, _), _| is_same(kind));
        self.topic_ids.clone_from(ids);
    }

    /// Returns the offsets to resume from, and the ids of their topics.
    pub(crate) fn places(&self) -> (Offsets, TopicIds) {
        (self.places.clone(), self.topic_ids.clone())
    }

    /// Returns the cameras of the registry without records.
    pub(crate) fn without_records(&self) -> impl Iterator<Item = &CameraSpec> {
        self.registry.values().filter(|spec| !self.cameras.contains_key(&spec.id)).map(|spec| &**spec)
    }
}

fn not_ahead(at: Timestamp, now: Timestamp) -> Result<(), IgnoreCause> {
    if at.ms_since(now) > MAX_AHEAD_MS { Err(IgnoreCause::Future) } else { Ok(()) }
}

/// Returns the camera, and creates it if the camera limit allows.
fn room<'a>(
    cameras: &'a mut BTreeMap<CameraId, Camera>,
    id: &CameraId,
    registry: &BTreeMap<CameraId, Box<CameraSpec>>,
    (ways, file): (&EvaluationSettings, &BTreeMap<CameraId, CameraPlaces>),
) -> Result<&'a mut Camera, IgnoreCause> {
    if !cameras.contains_key(id) {
        if cameras.len() >= MAX_CAMERAS {
            return Err(IgnoreCause::Capacity);
        }
        let mut camera = Camera::new(id.clone(), ways, file.get(id).cloned().unwrap_or_default());
        if let Some(spec) = registry.get(id) {
            camera.enlist(spec);
        }
        cameras.insert(id.clone(), camera);
    }
    cameras.get_mut(id).ok_or(IgnoreCause::Capacity)
}
