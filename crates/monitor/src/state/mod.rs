//! All that the monitor knows, made of records alone. Pure: the time is an argument, and what is to be kept or told
//! is given back.

mod bucket;
mod camera;
mod checkpoint;
mod heard;
mod pulse;
mod told;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use lookout_broker::{Placed, Places, ReadRecord, RegistryRecord, TopicIds, shortened};
use lookout_config::MonitorSettings;
use lookout_schema::{
    CameraId, CameraSpec, FrameRecord, RecordKind, SnapshotRecord, StatusRecord, Timestamp, WorkerId,
};
use lookout_track::TrackerSettings;

pub(crate) use self::{
    bucket::{Bucket, begin_of, minute_of},
    camera::{Camera, CameraPlaces, Ways},
    checkpoint::{Checkpoint, Kept},
    told::Told,
    worker::Worker,
};

/// All that is known.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ways: Ways,
    /// Of the file, for cameras that are not in the registry.
    file: BTreeMap<CameraId, CameraPlaces>,
    pub(crate) cameras: BTreeMap<CameraId, Camera>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// What the registry holds, also of cameras of which no record has come.
    pub(crate) registry: BTreeMap<CameraId, Box<CameraSpec>>,
    /// Cameras whose every frame somebody looks at.
    pub(crate) watched: BTreeSet<CameraId>,
    /// The record to go on with.
    places: Places,
    topic_ids: TopicIds,
    /// Where the store says to go on; a partition that begins before it was made anew.
    begun: Places,
    pub(crate) told: Told,
    pub(crate) counts: Counts,
}

/// How many records there were.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) read: BTreeMap<RecordKind, u64>,
    /// Nobody can read them, by topic.
    pub(crate) unreadable: BTreeMap<RecordKind, u64>,
    /// Deleted before they were read, by topic.
    pub(crate) deleted: BTreeMap<RecordKind, u64>,
    /// Cameras whose times did not agree, by the field that was not believed.
    pub(crate) doubts: BTreeMap<&'static str, u64>,
    /// Read, and passed over.
    pub(crate) passed: BTreeMap<Passed, u64>,
    /// How old the last frame or status was when it was taken.
    pub(crate) lag_ms: i64,
    /// The same of the oldest since this was looked at.
    pub(crate) oldest_ms: i64,
}

impl Counts {
    fn lag(&mut self, said_at: Timestamp, now: Timestamp) {
        self.lag_ms = now.ms_since(said_at);
        self.oldest_ms = self.oldest_ms.max(self.lag_ms);
    }
}

/// Why a record was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passed {
    /// It was taken before.
    Again,
    /// It is of an owner that had lost the camera, or out of its order.
    Late,
    /// It lies in the future.
    Future,
    /// There are too many cameras, or workers, for another one.
    TooMany,
}

impl Passed {
    pub(crate) const ALL: [Self; 4] = [Self::Again, Self::Late, Self::Future, Self::TooMany];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Late => "late",
            Self::Future => "future",
            Self::TooMany => "too_many",
        }
    }
}

const MAX_CAMERAS: usize = 10_000;
const MAX_WORKERS: usize = 1_000;
/// A clock that runs ahead by more is not believed.
const MAX_AHEAD_MS: i64 = 600_000;
/// What was not heard of for so long is forgotten.
const FORGET_MS: i64 = 24 * 3_600_000;
/// The same of a camera that was taken out of the registry, whose last records may still come.
const FORGET_REMOVED_MS: i64 = 60_000;

impl State {
    pub(crate) fn new(settings: &MonitorSettings) -> Self {
        let tracking = settings.tracking;
        let tracker = TrackerSettings {
            high_score: tracking.high_score,
            new_score: tracking.new_score,
            max_hidden_s: tracking.max_hidden_s,
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
            ways: Ways { tracker, rules: settings.rules.clone() },
            file,
            cameras: BTreeMap::new(),
            workers: BTreeMap::new(),
            registry: BTreeMap::new(),
            watched: BTreeSet::new(),
            places: Places::new(),
            topic_ids: TopicIds::new(),
            begun: Places::new(),
            told: Told::default(),
            counts: Counts::default(),
        }
    }

    /// Takes the next record.
    pub(crate) fn apply(&mut self, placed: Placed, now: Timestamp) {
        let partition = (placed.kind, placed.partition);
        *self.counts.read.entry(placed.kind).or_default() += 1;
        let begins_before = self.begun.remove(&partition).is_some_and(|place| placed.offset < place);
        if placed.anew || begins_before {
            self.start_over(placed.kind, placed.partition);
        }
        self.places.insert(partition, placed.offset + 1);
        if let Err(why) = self.take(placed, now) {
            *self.counts.passed.entry(why).or_default() += 1;
        }
    }

    fn take(&mut self, mut placed: Placed, now: Timestamp) -> Result<(), Passed> {
        let nothing = ReadRecord::Camera { key: String::new(), record: RegistryRecord::Removed };
        match std::mem::replace(&mut placed.record, nothing) {
            ReadRecord::Frame(frame) => self.take_frame(&placed, &frame, now),
            ReadRecord::Status(status) => self.take_status(&placed, *status, now),
            ReadRecord::Snapshot(picture) => self.take_picture(*picture, now),
            ReadRecord::Alert(alert) => {
                not_ahead(alert.at, now)?;
                self.told.read.push(*alert);
                Ok(())
            }
            ReadRecord::Camera { key, record } => {
                if let RegistryRecord::Bad(why) = &record {
                    tracing::debug!(key = shortened(&key), why, "a record of the registry is not used");
                    *self.counts.unreadable.entry(placed.kind).or_default() += 1;
                }
                if let Ok(id) = key.parse() {
                    self.take_registry(&id, record);
                }
                Ok(())
            }
            ReadRecord::Track(_) => Ok(()),
            ReadRecord::Unreadable { topic, partition, offset, reason } => {
                tracing::debug!(topic, partition, offset, reason, "a record cannot be read");
                *self.counts.unreadable.entry(placed.kind).or_default() += 1;
                Ok(())
            }
        }
    }

    fn take_frame(&mut self, placed: &Placed, frame: &FrameRecord, now: Timestamp) -> Result<(), Passed> {
        not_ahead(frame.published_at, now)?;
        // A file may be read faster than it plays.
        if frame.clock != lookout_schema::Clock::File {
            not_ahead(frame.captured_at, now)?;
        }
        self.counts.lag(frame.published_at, now);
        let camera = room(&mut self.cameras, &frame.camera, &self.registry, (&self.ways, &self.file))?;
        if !camera.heard.take(placed) {
            return Err(Passed::Again);
        }
        camera.live.dirty = true;
        if !camera.hear_frame(frame, &self.ways, now, &mut self.told) {
            return Err(Passed::Late);
        }
        for field in self.told.doubts.drain(..) {
            *self.counts.doubts.entry(field).or_default() += 1;
        }
        if self.watched.contains(&frame.camera) {
            self.told.looks.insert(frame.camera.clone(), frame.seq);
        }
        Ok(())
    }

    fn take_status(&mut self, placed: &Placed, status: StatusRecord, now: Timestamp) -> Result<(), Passed> {
        match status {
            StatusRecord::Camera(status) => {
                not_ahead(status.at, now)?;
                self.counts.lag(status.at, now);
                let camera =
                    room(&mut self.cameras, &status.camera, &self.registry, (&self.ways, &self.file))?;
                if !camera.heard.take(placed) {
                    return Err(Passed::Again);
                }
                camera.live.dirty = true;
                if camera.hear_status(status, now) { Ok(()) } else { Err(Passed::Late) }
            }
            StatusRecord::Worker(status) => {
                not_ahead(status.at, now)?;
                self.counts.lag(status.at, now);
                if !self.workers.contains_key(&status.worker) {
                    if self.workers.len() >= MAX_WORKERS {
                        return Err(Passed::TooMany);
                    }
                    self.workers.insert(status.worker.clone(), Worker::new(status.clone(), &self.ways.rules));
                }
                let Some(worker) = self.workers.get_mut(&status.worker) else { return Ok(()) };
                if !worker.heard.take(placed) {
                    return Err(Passed::Again);
                }
                worker.hear(status, now);
                Ok(())
            }
        }
    }

    fn take_picture(&mut self, picture: SnapshotRecord, now: Timestamp) -> Result<(), Passed> {
        if picture.clock != lookout_schema::Clock::File {
            not_ahead(picture.captured_at, now)?;
        }
        let camera = room(&mut self.cameras, &picture.camera, &self.registry, (&self.ways, &self.file))?;
        if picture.epoch < camera.follower.epoch() {
            return Err(Passed::Late);
        }
        camera.live.fresh = true;
        self.told.pictures.push(picture);
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

    /// Looks at what did not come, where `caught_up` says that nothing waits to be read.
    pub(crate) fn tick(&mut self, now: Timestamp, caught_up: bool) {
        if !caught_up {
            return;
        }
        let minute = minute_of(now);
        // A frame of the minute before may still be on its way.
        let over = if minute_of(Timestamp::from_unix_us(now.as_unix_us() - 5_000_000)) == minute {
            minute
        } else {
            minute - 1
        };
        for camera in self.cameras.values_mut() {
            camera.judge(&self.ways, now, &mut self.told);
            if camera.bucket.frames > 0 && camera.bucket.minute < over {
                camera.close_bucket(over, &mut self.told);
            }
        }
        for worker in self.workers.values_mut() {
            worker.judge(&self.ways.rules, now, &mut self.told);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        let long_ago = |at: Timestamp, ms: i64| at.as_unix_us() > 0 && now.ms_since(at) > ms;
        let told = &mut self.told;
        for (id, mut camera) in self.cameras.extract_if(.., |_, camera| {
            let patience = if camera.live.removed { FORGET_REMOVED_MS } else { FORGET_MS };
            camera.live.spec.is_none() && long_ago(camera.pulse.heard_at, patience)
        }) {
            camera.close_bucket(minute_of(now), told);
            camera.give_up(now, told);
            told.gone.push(id);
        }
        for (id, mut worker) in
            self.workers.extract_if(.., |_, worker| long_ago(worker.pulse.heard_at, FORGET_MS))
        {
            worker.give_up(now, told);
            told.gone_workers.push(id);
        }
    }

    /// The rate of each camera's frames, `seconds` after it was asked for last.
    pub(crate) fn measure(&mut self, seconds: f64) {
        /// So much of a rate is what was measured now.
        const NEW: f64 = 0.3;
        for camera in self.cameras.values_mut() {
            let live = &mut camera.live;
            let now = std::mem::take(&mut live.frames) as f64 / seconds.max(0.001);
            live.fps = if live.fps == 0.0 { now } else { live.fps + NEW * (now - live.fps) };
        }
    }

    /// The topic of `kind` was recreated: its offsets mean other records. Epochs may begin anew with it, where the
    /// topic of the claims was recreated too.
    fn start_over(&mut self, kind: RecordKind, partition: i32) {
        for camera in self.cameras.values_mut() {
            if camera.heard.forget(kind, partition) {
                match kind {
                    RecordKind::Frame => camera.live.frames_anew = true,
                    _ => camera.live.status_anew = true,
                }
            }
        }
        for worker in self.workers.values_mut() {
            worker.heard.forget(kind, partition);
        }
    }

    /// Notes the topics' ids. Places in a topic that has another id than before are of records that are gone.
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

    /// The records to go on with, and the ids of their topics.
    pub(crate) fn places(&self) -> (Places, TopicIds) {
        (self.places.clone(), self.topic_ids.clone())
    }

    /// Cameras of the registry of which no record has come.
    pub(crate) fn unheard(&self) -> impl Iterator<Item = &CameraSpec> {
        self.registry.values().filter(|spec| !self.cameras.contains_key(&spec.id)).map(|spec| &**spec)
    }
}

fn not_ahead(at: Timestamp, now: Timestamp) -> Result<(), Passed> {
    if at.ms_since(now) > MAX_AHEAD_MS { Err(Passed::Future) } else { Ok(()) }
}

/// The camera; a new one where there is room for it.
fn room<'a>(
    cameras: &'a mut BTreeMap<CameraId, Camera>,
    id: &CameraId,
    registry: &BTreeMap<CameraId, Box<CameraSpec>>,
    (ways, file): (&Ways, &BTreeMap<CameraId, CameraPlaces>),
) -> Result<&'a mut Camera, Passed> {
    if !cameras.contains_key(id) {
        if cameras.len() >= MAX_CAMERAS {
            return Err(Passed::TooMany);
        }
        let mut camera = Camera::new(id.clone(), ways, file.get(id).cloned().unwrap_or_default());
        if let Some(spec) = registry.get(id) {
            camera.enlist(spec);
        }
        cameras.insert(id.clone(), camera);
    }
    cameras.get_mut(id).ok_or(Passed::TooMany)
}
