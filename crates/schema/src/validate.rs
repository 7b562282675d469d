//! Validation of received records. Decoding checks the types; this module checks numbers and sizes, so that
//! consumers do not have to handle boxes without an area or labels of a megabyte.

use thiserror::Error;

use crate::{
    AlertEvidence, AlertRecord, BBox, Classification, Detection, FrameRecord, ObjectRef, Size,
    SnapshotRecord, StatusRecord, TrackRecord,
};

/// The error of an invalid record: a field with a value that writers must not write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` {what}")]
pub struct InvalidRecord {
    /// Path of the field in the record, such as `detections[3].box`.
    pub field: String,
    /// What is wrong with its value.
    pub what: String,
}

/// Maximum length of a label or a name, in bytes.
pub const MAX_NAME: usize = 256;
/// Maximum length of a message or a description, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Maximum number of detections of a frame, and of classes of a frame or a detection.
pub const MAX_DETECTIONS: usize = 10_000;
/// Maximum number of values in [`AlertEvidence::Other`].
const MAX_VALUES: usize = 64;
/// Maximum width and height of an image, in pixels.
pub const MAX_SIDE: u32 = 65_535;

impl FrameRecord {
    /// Validates the record.
    ///
    /// # Errors
    /// Returns the first invalid field.
    pub fn check(&self) -> Result<(), InvalidRecord> {
        size("source", self.source)?;
        detections(&self.detections, self.source)?;
        classifications("classes", &self.classes)
    }
}

impl SnapshotRecord {
    /// Validates the record. Of the JPEG, only the size and the first bytes are checked.
    ///
    /// # Errors
    /// Returns the first invalid field.
    pub fn check(&self) -> Result<(), InvalidRecord> {
        size("source", self.source)?;
        size("image", self.image)?;
        that(self.jpeg.len() <= Self::MAX_JPEG, "jpeg", "is too large")?;
        that(self.jpeg.starts_with(&[0xFF, 0xD8, 0xFF]), "jpeg", "is not a JPEG")?;
        detections(&self.detections, self.source)
    }
}

impl StatusRecord {
    /// Validates the record.
    ///
    /// # Errors
    /// Returns the first invalid field.
    pub fn check(&self) -> Result<(), InvalidRecord> {
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
    /// Validates the record.
    ///
    /// # Errors
    /// Returns the first invalid field.
    pub fn check(&self) -> Result<(), InvalidRecord> {
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
    /// Validates the record.
    ///
    /// # Errors
    /// Returns the first invalid field.
    pub fn check(&self) -> Result<(), InvalidRecord> {
        for (field, value) in [("id", &self.id), ("consumer", &self.consumer), ("rule", &self.rule)] {
            name(field, value)?;
            that(!value.is_empty(), field, "is empty")?;
        }
        text("message", &self.message)?;
        match &self.evidence {
            AlertEvidence::Collision(seen) => {
                object(&seen.object)?;
                let numbers =
                    [Some(seen.ttc_s), Some(seen.ttc_low_s), seen.ttc_high_s, Some(seen.observed_s)];
                let all = numbers.into_iter().chain([seen.distance_m, seen.closing_speed_m_s]).flatten();
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
            AlertEvidence::Other { rule_kind, numbers, texts, object: seen } => {
                name("evidence.rule_kind", rule_kind)?;
                that(numbers.len() + texts.len() <= MAX_VALUES, "evidence", "has too many values")?;
                numbers.keys().chain(texts.keys()).try_for_each(|key| name("evidence", key))?;
                texts.values().try_for_each(|value| text("evidence.texts", value))?;
                that(
                    numbers.values().all(|n| n.is_finite()),
                    "evidence.numbers",
                    "has a number that is not finite",
                )?;
                seen.as_ref().map_or(Ok(()), object)
            }
        }
    }
}

fn that(holds: bool, field: &str, what: &str) -> Result<(), InvalidRecord> {
    if holds { Ok(()) } else { Err(InvalidRecord { field: field.into(), what: what.into() }) }
}

fn name(field: &str, value: &str) -> Result<(), InvalidRecord> {
    that(value.len() <= MAX_NAME, field, "is too long")
}

fn text(field: &str, value: &str) -> Result<(), InvalidRecord> {
    that(value.len() <= MAX_TEXT, field, "is too long")
}

fn size(field: &str, size: Size) -> Result<(), InvalidRecord> {
    let sides = 1..=MAX_SIDE;
    that(sides.contains(&size.width) && sides.contains(&size.height), field, "is not a valid image size")
}

fn score(field: &str, score: f32) -> Result<(), InvalidRecord> {
    that((0.0..=1.0).contains(&score), field, "is not between 0 and 1")
}

/// Checks that the box is finite and has an area. It may extend beyond the image.
fn finite(field: &str, bbox: BBox) -> Result<(), InvalidRecord> {
    let sides = <[f32; 4]>::from(bbox);
    let has_area = sides.iter().all(|side| side.is_finite()) && bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1;
    that(has_area, field, "is not a valid box")
}

fn object(object: &ObjectRef) -> Result<(), InvalidRecord> {
    name("evidence.object.tracker", &object.tracker)?;
    name("evidence.object.label", &object.label)?;
    score("evidence.object.score", object.score)?;
    finite("evidence.object.box", object.bbox)
}

fn classifications(field: &str, classes: &[Classification]) -> Result<(), InvalidRecord> {
    that(classes.len() <= MAX_DETECTIONS, field, "has too many entries")?;
    classes.iter().try_for_each(|class| name(field, &class.label).and_then(|()| score(field, class.score)))
}

fn detections(detections: &[Detection], source: Size) -> Result<(), InvalidRecord> {
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
