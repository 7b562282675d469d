//! Conversion of frames and snapshots.

use lookout_schema::{Classification, Epoch, FrameRecord, ModelInfo, SnapshotRecord, TimingUs};

use super::{
    BadField, id,
    names::{Named, causes, counts, named},
    optional_part, part, parts, time,
};
use crate::proto;

impl From<&FrameRecord> for proto::FrameRecord {
    fn from(frame: &FrameRecord) -> Self {
        Self {
            schema: frame.schema.clone(),
            camera: frame.camera.as_str().to_owned(),
            worker: frame.worker.as_str().to_owned(),
            epoch: frame.epoch.0,
            session: frame.session.to_string(),
            seq: frame.seq,
            pts_ns: frame.pts_ns,
            captured_at_us: frame.captured_at.as_unix_us(),
            clock: frame.clock.number(),
            published_at_us: frame.published_at.as_unix_us(),
            age_ms: frame.age_ms,
            timing_us: Some((&frame.timing_us).into()),
            source: Some((&frame.source).into()),
            model: Some((&frame.model).into()),
            classifier: frame.classifier.as_ref().map(Into::into),
            dropped_before: counts(&frame.dropped_before),
            detections: frame.detections.iter().map(Into::into).collect(),
            classes: frame.classes.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::FrameRecord> for FrameRecord {
    type Error = BadField;

    fn try_from(frame: proto::FrameRecord) -> Result<Self, BadField> {
        Ok(Self {
            schema: frame.schema,
            camera: id("camera", &frame.camera)?,
            worker: id("worker", &frame.worker)?,
            epoch: Epoch(frame.epoch),
            session: id("session", &frame.session)?,
            seq: frame.seq,
            pts_ns: frame.pts_ns,
            captured_at: time("captured_at_us", frame.captured_at_us)?,
            clock: named("clock", frame.clock)?,
            published_at: time("published_at_us", frame.published_at_us)?,
            age_ms: frame.age_ms,
            timing_us: part("timing_us", frame.timing_us)?,
            source: part("source", frame.source)?,
            model: part("model", frame.model)?,
            classifier: optional_part(frame.classifier)?,
            dropped_before: causes("dropped_before", frame.dropped_before)?,
            detections: parts(frame.detections)?,
            classes: parts(frame.classes)?,
        })
    }
}

impl From<&SnapshotRecord> for proto::SnapshotRecord {
    fn from(snapshot: &SnapshotRecord) -> Self {
        Self {
            schema: snapshot.schema.clone(),
            camera: snapshot.camera.as_str().to_owned(),
            worker: snapshot.worker.as_str().to_owned(),
            epoch: snapshot.epoch.0,
            session: snapshot.session.to_string(),
            seq: snapshot.seq,
            captured_at_us: snapshot.captured_at.as_unix_us(),
            clock: snapshot.clock.number(),
            source: Some((&snapshot.source).into()),
            image: Some((&snapshot.image).into()),
            jpeg: snapshot.jpeg.clone(),
            detections: snapshot.detections.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::SnapshotRecord> for SnapshotRecord {
    type Error = BadField;

    fn try_from(snapshot: proto::SnapshotRecord) -> Result<Self, BadField> {
        Ok(Self {
            schema: snapshot.schema,
            camera: id("camera", &snapshot.camera)?,
            worker: id("worker", &snapshot.worker)?,
            epoch: Epoch(snapshot.epoch),
            session: id("session", &snapshot.session)?,
            seq: snapshot.seq,
            captured_at: time("captured_at_us", snapshot.captured_at_us)?,
            clock: named("clock", snapshot.clock)?,
            source: part("source", snapshot.source)?,
            image: part("image", snapshot.image)?,
            jpeg: snapshot.jpeg,
            detections: parts(snapshot.detections)?,
        })
    }
}

impl From<&TimingUs> for proto::TimingUs {
    fn from(timing: &TimingUs) -> Self {
        let TimingUs { decode, queue, infer, post } = *timing;
        Self { decode, queue, infer, post }
    }
}

impl From<proto::TimingUs> for TimingUs {
    fn from(timing: proto::TimingUs) -> Self {
        let proto::TimingUs { decode, queue, infer, post } = timing;
        Self { decode, queue, infer, post }
    }
}

impl From<&ModelInfo> for proto::ModelInfo {
    fn from(model: &ModelInfo) -> Self {
        let ModelInfo { arch, weights, precision } = model.clone();
        Self { arch, weights, precision }
    }
}

impl From<proto::ModelInfo> for ModelInfo {
    fn from(model: proto::ModelInfo) -> Self {
        let proto::ModelInfo { arch, weights, precision } = model;
        Self { arch, weights, precision }
    }
}

impl From<&Classification> for proto::Classification {
    fn from(class: &Classification) -> Self {
        let Classification { class_id, label, score } = class.clone();
        Self { class_id, label, score }
    }
}

impl From<proto::Classification> for Classification {
    fn from(class: proto::Classification) -> Self {
        let proto::Classification { class_id, label, score } = class;
        Self { class_id, label, score }
    }
}
