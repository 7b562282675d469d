//! Conversion between records and their Protobuf types. Constraints that Protobuf cannot express, such as the syntax
//! of ids, are checked when a message is decoded.

mod alert;
mod frame;
mod names;
mod status;
mod track;

use lookout_schema::{BBox, Detection, Size, Timestamp};
use thiserror::Error;

use crate::proto;

/// An invalid field of a Protobuf message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}`: {what}")]
pub struct BadField {
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong with its value.
    pub what: String,
}

impl BadField {
    fn new(field: &'static str, what: impl Into<String>) -> Self {
        Self { field, what: what.into() }
    }
}

/// Parses an id with the parser of its own type.
fn id<T: std::str::FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, BadField> {
    text.parse().map_err(|error: T::Err| BadField::new(field, error.to_string()))
}

fn optional_id<T: std::str::FromStr<Err: ToString>>(
    field: &'static str,
    text: Option<&String>,
) -> Result<Option<T>, BadField> {
    text.map(|text| id(field, text)).transpose()
}

fn time(field: &'static str, us: i64) -> Result<Timestamp, BadField> {
    let time = Timestamp::from_unix_us(us);
    let invalid = || BadField::new(field, format!("{us} us is not within the years 0 to 9999"));
    if time.as_unix_us() == us { Ok(time) } else { Err(invalid()) }
}

/// Converts a required message field.
fn part<P, T: TryFrom<P, Error: Into<BadField>>>(
    field: &'static str,
    part: Option<P>,
) -> Result<T, BadField> {
    let part = part.ok_or_else(|| BadField::new(field, "the field is missing"))?;
    part.try_into().map_err(Into::into)
}

fn optional_part<P, T: TryFrom<P, Error: Into<BadField>>>(part: Option<P>) -> Result<Option<T>, BadField> {
    part.map(|part| part.try_into().map_err(Into::into)).transpose()
}

fn parts<P, T: TryFrom<P, Error: Into<BadField>>>(parts: Vec<P>) -> Result<Vec<T>, BadField> {
    parts.into_iter().map(|part| part.try_into().map_err(Into::into)).collect()
}

/// For conversions that cannot fail.
impl From<std::convert::Infallible> for BadField {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<&Size> for proto::Size {
    fn from(size: &Size) -> Self {
        Self { width: size.width, height: size.height }
    }
}

impl From<proto::Size> for Size {
    fn from(size: proto::Size) -> Self {
        Self { width: size.width, height: size.height }
    }
}

impl From<&BBox> for proto::Box {
    fn from(b: &BBox) -> Self {
        Self { x1: b.x1, y1: b.y1, x2: b.x2, y2: b.y2 }
    }
}

impl From<proto::Box> for BBox {
    fn from(b: proto::Box) -> Self {
        Self { x1: b.x1, y1: b.y1, x2: b.x2, y2: b.y2 }
    }
}

impl From<&Detection> for proto::Detection {
    fn from(seen: &Detection) -> Self {
        Self {
            class_id: seen.class_id,
            label: seen.label.clone(),
            score: seen.score,
            r#box: Some((&seen.bbox).into()),
            classes: seen.classes.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::Detection> for Detection {
    type Error = BadField;

    fn try_from(seen: proto::Detection) -> Result<Self, BadField> {
        Ok(Self {
            class_id: seen.class_id,
            label: seen.label,
            score: seen.score,
            bbox: part("detections.box", seen.r#box)?,
            classes: parts(seen.classes)?,
        })
    }
}
