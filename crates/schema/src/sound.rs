//! Whether a record that was read holds what its writer may write. Types are checked as it is read; this is about
//! numbers and sizes, so that no consumer has to think of a box without area or a label of a megabyte.

use thiserror::Error;

use crate::{
    AlertEvidence, AlertRecord, BBox, Classification, Detection, FrameRecord, ObjectRef, Size,
    SnapshotRecord, StatusRecord, TrackRecord,
};

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` {what}")]
pub struct Unsound {
    /// Path of the field in the record, such as `detections[3].box`.
    pub field: String,
    /// What is wrong with its value.
    pub what: String,
}

/// The longest label, name or rule, in bytes.
pub const MAX_NAME: usize = 256;
/// The longest text for people, in bytes.
pub const MAX_TEXT: usize = 4096;
/// The most detections, or classes, of a picture.
pub const MAX_DETECTIONS: usize = 10_000;
/// The longest side of a picture, in pixels.
pub const MAX_SIDE: u32 = 65_535;

impl FrameRecord {
    /// # Errors
    /// What its writer may not write.
    pub fn check(&self) -> Result<(), Unsound> {
        size("source", self.source)?;
        detections(&self.detections, self.source)?;
        classifications("classes", &self.classes)
    }
}

impl SnapshotRecord {
    /// # Errors
    /// What its writer may not write. Whether the JPEG is one is not looked at.
    pub fn check(&self) -> Result<(), Unsound> {
        size("source", self.source)?;
        size("picture", self.picture)?;
        that(self.jpeg.len() <= Self::MAX_JPEG, "jpeg", "is too large")?;
        that(self.jpeg.starts_with(&[0xFF, 0xD8, 0xFF]), "jpeg", "is not a JPEG")?;
        detections(&self.detections, self.source)
    }
}

impl StatusRecord {
    /// # Errors
    /// What its writer may not write.
    pub fn check(&self) -> Result<(), Unsound> {
        match self {
            Self::Camera(camera) => {
                that(camera.fps.is_finite() && camera.fps >= 0.0, "fps", "is not a valid frame rate")?;
                text("detail", camera.detail.as_deref().unwrap_or_default())
            }
            Self::Worker(worker) => {
                that(
                    worker.device_busy.is_finite() && worker.batch_size.is_finite(),
                    "device_busy",
                    "is not a finite number",
                )?;
                text("version", &worker.version)
            }
        }
    }
}

impl TrackRecord {
    /// # Errors
    /// What its writer may not write.
    pub fn check(&self) -> Result<(), Unsound> {
        size("source", self.source)?;
        name("tracker", &self.tracker)?;
        name("label", &self.label)?;
        score("score", self.score)?;
        finite("box", self.bbox)?;
        that(self.velocity.iter().all(|v| v.is_finite()), "velocity", "is not a finite number")?;
        for stay in &self.zones {
            name("zones.zone", &stay.zone)?;
            that(stay.dwell_s.is_finite(), "zones.dwell_s", "is not a finite number")?;
        }
        self.crossed.iter().try_for_each(|crossing| name("crossed.line", &crossing.line))
    }
}

impl AlertRecord {
    /// # Errors
    /// What its writer may not write.
    pub fn check(&self) -> Result<(), Unsound> {
        for (field, value) in [("id", &self.id), ("consumer", &self.consumer), ("rule", &self.rule)] {
            name(field, value)?;
            that(!value.is_empty(), field, "is empty")?;
        }
        text("message", &self.message)?;
        match &self.evidence {
            AlertEvidence::Collision(seen) => {
                object(&seen.object)?;
                let numbers = [Some(seen.ttc_s), Some(seen.ttc_low_s), seen.ttc_high_s, Some(seen.watched_s)];
                let all = numbers.into_iter().chain([seen.distance_m, seen.closing_m_s]).flatten();
                that(all.into_iter().all(f64::is_finite), "evidence", "contains a number that is not finite")
            }
            AlertEvidence::Count { zone, for_s, .. } => {
                name("evidence.zone", zone.as_deref().unwrap_or_default())?;
                that(for_s.is_finite(), "evidence.for_s", "is not a finite number")
            }
            AlertEvidence::Line { line, object: seen, .. } => {
                name("evidence.line", line)?;
                object(seen)
            }
            AlertEvidence::Dwell { zone, dwell_s, object: seen } => {
                name("evidence.zone", zone)?;
                that(dwell_s.is_finite(), "evidence.dwell_s", "is not a finite number")?;
                object(seen)
            }
            AlertEvidence::CameraDown { detail, for_s, .. } => {
                text("evidence.detail", detail.as_deref().unwrap_or_default())?;
                that(for_s.is_finite(), "evidence.for_s", "is not a finite number")
            }
            AlertEvidence::WorkerDown { for_s } | AlertEvidence::Latency { for_s, .. } => {
                that(for_s.is_finite(), "evidence.for_s", "is not a finite number")
            }
        }
    }
}

fn that(holds: bool, field: &str, what: &str) -> Result<(), Unsound> {
    if holds { Ok(()) } else { Err(Unsound { field: field.into(), what: what.into() }) }
}

fn name(field: &str, value: &str) -> Result<(), Unsound> {
    that(value.len() <= MAX_NAME, field, "is too long")
}

fn text(field: &str, value: &str) -> Result<(), Unsound> {
    that(value.len() <= MAX_TEXT, field, "is too long")
}

fn size(field: &str, size: Size) -> Result<(), Unsound> {
    let sides = 1..=MAX_SIDE;
    that(sides.contains(&size.width) && sides.contains(&size.height), field, "is not a valid image size")
}

fn score(field: &str, score: f32) -> Result<(), Unsound> {
    that((0.0..=1.0).contains(&score), field, "is not between 0 and 1")
}

/// A box that may reach out of its picture.
fn finite(field: &str, bbox: BBox) -> Result<(), Unsound> {
    let sides = <[f32; 4]>::from(bbox);
    let has_area = sides.iter().all(|side| side.is_finite()) && bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1;
    that(has_area, field, "is not a valid box")
}

fn object(object: &ObjectRef) -> Result<(), Unsound> {
    name("evidence.object.tracker", &object.tracker)?;
    name("evidence.object.label", &object.label)?;
    score("evidence.object.score", object.score)?;
    finite("evidence.object.box", object.bbox)
}

fn classifications(field: &str, classes: &[Classification]) -> Result<(), Unsound> {
    that(classes.len() <= MAX_DETECTIONS, field, "has too many entries")?;
    classes.iter().try_for_each(|class| name(field, &class.label).and_then(|()| score(field, class.score)))
}

fn detections(detections: &[Detection], source: Size) -> Result<(), Unsound> {
    that(detections.len() <= MAX_DETECTIONS, "detections", "has too many entries")?;
    for seen in detections {
        name("detections.label", &seen.label)?;
        score("detections.score", seen.score)?;
        finite("detections.box", seen.bbox)?;
        that(seen.bbox.clipped(source) == Some(seen.bbox), "detections.box", "is not within the frame")?;
        classifications("detections.classes", &seen.classes)?;
    }
    Ok(())
}
