//! Conversion of tracks.

use lookout_schema::{Epoch, LineCrossing, TrackRecord, ZoneStay};

use super::{
    BadField, id,
    names::{Named, named},
    part, parts, time,
};
use crate::proto;

impl From<&TrackRecord> for proto::TrackRecord {
    fn from(track: &TrackRecord) -> Self {
        let [x, y] = track.velocity;
        Self {
            schema: track.schema.clone(),
            camera: track.camera.as_str().to_owned(),
            epoch: track.epoch.0,
            session: track.session.to_string(),
            tracker: track.tracker.clone(),
            id: track.id,
            event: track.event.number(),
            seq: track.seq,
            captured_at_us: track.captured_at.as_unix_us(),
            clock: track.clock.number(),
            published_at_us: track.published_at.as_unix_us(),
            age_ms: track.age_ms,
            class_id: track.class_id,
            label: track.label.clone(),
            score: track.score,
            source: Some((&track.source).into()),
            r#box: Some((&track.bbox).into()),
            velocity: Some(proto::Velocity { x, y }),
            first_seen_at_us: track.first_seen_at.as_unix_us(),
            last_seen_at_us: track.last_seen_at.as_unix_us(),
            hits: track.hits,
            zones: track.zones.iter().map(Into::into).collect(),
            crossed: track.crossed.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::TrackRecord> for TrackRecord {
    type Error = BadField;

    fn try_from(track: proto::TrackRecord) -> Result<Self, BadField> {
        let velocity = track.velocity.ok_or_else(|| BadField::new("velocity", "the field is missing"))?;
        Ok(Self {
            schema: track.schema,
            camera: id("camera", &track.camera)?,
            epoch: Epoch(track.epoch),
            session: id("session", &track.session)?,
            tracker: track.tracker,
            id: track.id,
            event: named("event", track.event)?,
            seq: track.seq,
            captured_at: time("captured_at_us", track.captured_at_us)?,
            clock: named("clock", track.clock)?,
            published_at: time("published_at_us", track.published_at_us)?,
            age_ms: track.age_ms,
            class_id: track.class_id,
            label: track.label,
            score: track.score,
            source: part("source", track.source)?,
            bbox: part("box", track.r#box)?,
            velocity: [velocity.x, velocity.y],
            first_seen_at: time("first_seen_at_us", track.first_seen_at_us)?,
            last_seen_at: time("last_seen_at_us", track.last_seen_at_us)?,
            hits: track.hits,
            zones: parts(track.zones)?,
            crossed: parts(track.crossed)?,
        })
    }
}

impl From<&ZoneStay> for proto::ZoneStay {
    fn from(stay: &ZoneStay) -> Self {
        Self { zone: stay.zone.clone(), dwell_s: stay.dwell_s }
    }
}

impl From<proto::ZoneStay> for ZoneStay {
    fn from(stay: proto::ZoneStay) -> Self {
        Self { zone: stay.zone, dwell_s: stay.dwell_s }
    }
}

impl From<&LineCrossing> for proto::LineCrossing {
    fn from(crossing: &LineCrossing) -> Self {
        Self { line: crossing.line.clone(), direction: crossing.direction.number() }
    }
}

impl TryFrom<proto::LineCrossing> for LineCrossing {
    type Error = BadField;

    fn try_from(crossing: proto::LineCrossing) -> Result<Self, BadField> {
        Ok(Self { line: crossing.line, direction: named("crossed.direction", crossing.direction)? })
    }
}
