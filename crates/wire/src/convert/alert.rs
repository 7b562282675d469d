//! Conversion of alerts.

use lookout_schema::{AlertEvidence, AlertRecord, CollisionEvidence, Epoch, FrameRef, ObjectRef};

use super::{
    BadField, id,
    names::{Named, named},
    optional_id, optional_part, part, time,
};
use crate::proto::{self, alert_evidence::Kind};

impl From<&AlertRecord> for proto::AlertRecord {
    fn from(alert: &AlertRecord) -> Self {
        Self {
            schema: alert.schema.clone(),
            id: alert.id.clone(),
            version: alert.version,
            consumer: alert.consumer.clone(),
            rule: alert.rule.clone(),
            state: alert.state.number(),
            level: alert.level.number(),
            at_us: alert.at.as_unix_us(),
            raised_at_us: alert.raised_at.as_unix_us(),
            published_at_us: alert.published_at.as_unix_us(),
            age_ms: alert.age_ms,
            camera: alert.camera.as_ref().map(|camera| camera.as_str().to_owned()),
            worker: alert.worker.as_ref().map(|worker| worker.as_str().to_owned()),
            frame: alert.frame.as_ref().map(Into::into),
            message: alert.message.clone(),
            evidence: Some(proto::AlertEvidence { kind: Some((&alert.evidence).into()) }),
        }
    }
}

impl TryFrom<proto::AlertRecord> for AlertRecord {
    type Error = BadField;

    fn try_from(alert: proto::AlertRecord) -> Result<Self, BadField> {
        let evidence = alert.evidence.and_then(|evidence| evidence.kind);
        Ok(Self {
            schema: alert.schema,
            id: alert.id,
            version: alert.version,
            consumer: alert.consumer,
            rule: alert.rule,
            state: named("state", alert.state)?,
            level: named("level", alert.level)?,
            at: time("at_us", alert.at_us)?,
            raised_at: time("raised_at_us", alert.raised_at_us)?,
            published_at: time("published_at_us", alert.published_at_us)?,
            age_ms: alert.age_ms,
            camera: optional_id("camera", alert.camera.as_ref())?,
            worker: optional_id("worker", alert.worker.as_ref())?,
            frame: optional_part(alert.frame)?,
            message: alert.message,
            evidence: part("evidence", evidence)?,
        })
    }
}

impl From<&FrameRef> for proto::FrameRef {
    fn from(frame: &FrameRef) -> Self {
        Self { epoch: frame.epoch.0, session: frame.session.to_string(), seq: frame.seq }
    }
}

impl TryFrom<proto::FrameRef> for FrameRef {
    type Error = BadField;

    fn try_from(frame: proto::FrameRef) -> Result<Self, BadField> {
        Ok(Self { epoch: Epoch(frame.epoch), session: id("frame.session", &frame.session)?, seq: frame.seq })
    }
}

impl From<&AlertEvidence> for Kind {
    fn from(evidence: &AlertEvidence) -> Self {
        match evidence {
            AlertEvidence::Collision(seen) => Self::Collision(seen.into()),
            AlertEvidence::Count { zone, count, limit, for_s } => Self::Count(proto::CountEvidence {
                zone: zone.clone(),
                count: *count,
                limit: *limit,
                for_s: *for_s,
            }),
            AlertEvidence::Line { line, direction, object } => Self::Line(proto::LineEvidence {
                line: line.clone(),
                direction: direction.number(),
                object: Some(object.into()),
            }),
            AlertEvidence::Dwell { zone, dwell_s, object } => Self::Dwell(proto::DwellEvidence {
                zone: zone.clone(),
                dwell_s: *dwell_s,
                object: Some(object.into()),
            }),
            AlertEvidence::CameraDown { status, detail, for_s } => {
                Self::CameraDown(proto::CameraDownEvidence {
                    status: status.number(),
                    detail: detail.clone(),
                    for_s: *for_s,
                })
            }
            AlertEvidence::WorkerDown { for_s } => {
                Self::WorkerDown(proto::WorkerDownEvidence { for_s: *for_s })
            }
            AlertEvidence::Latency { age_ms, budget_ms, for_s } => Self::Latency(proto::LatencyEvidence {
                age_ms: *age_ms,
                budget_ms: *budget_ms,
                for_s: *for_s,
            }),
            AlertEvidence::Other { rule_kind, numbers, texts, object } => Self::Other(proto::OtherEvidence {
                rule_kind: rule_kind.clone(),
                numbers: numbers.clone(),
                texts: texts.clone(),
                object: object.as_ref().map(Into::into),
            }),
        }
    }
}

impl TryFrom<Kind> for AlertEvidence {
    type Error = BadField;

    fn try_from(kind: Kind) -> Result<Self, BadField> {
        const OBJECT: &str = "evidence.object";
        Ok(match kind {
            Kind::Collision(seen) => Self::Collision(seen.try_into()?),
            Kind::Count(proto::CountEvidence { zone, count, limit, for_s }) => {
                Self::Count { zone, count, limit, for_s }
            }
            Kind::Line(proto::LineEvidence { line, direction, object }) => {
                let direction = named("evidence.direction", direction)?;
                Self::Line { line, direction, object: part(OBJECT, object)? }
            }
            Kind::Dwell(proto::DwellEvidence { zone, dwell_s, object }) => {
                Self::Dwell { zone, dwell_s, object: part(OBJECT, object)? }
            }
            Kind::CameraDown(proto::CameraDownEvidence { status, detail, for_s }) => {
                Self::CameraDown { status: named("evidence.status", status)?, detail, for_s }
            }
            Kind::WorkerDown(proto::WorkerDownEvidence { for_s }) => Self::WorkerDown { for_s },
            Kind::Latency(proto::LatencyEvidence { age_ms, budget_ms, for_s }) => {
                Self::Latency { age_ms, budget_ms, for_s }
            }
            Kind::Other(proto::OtherEvidence { rule_kind, numbers, texts, object }) => {
                Self::Other { rule_kind, numbers, texts, object: optional_part(object)? }
            }
        })
    }
}

impl From<&CollisionEvidence> for proto::CollisionEvidence {
    fn from(seen: &CollisionEvidence) -> Self {
        Self {
            object: Some((&seen.object).into()),
            ttc_s: seen.ttc_s,
            ttc_low_s: seen.ttc_low_s,
            ttc_high_s: seen.ttc_high_s,
            observed_s: seen.observed_s,
            distance_m: seen.distance_m,
            closing_speed_m_s: seen.closing_speed_m_s,
        }
    }
}

impl TryFrom<proto::CollisionEvidence> for CollisionEvidence {
    type Error = BadField;

    fn try_from(seen: proto::CollisionEvidence) -> Result<Self, BadField> {
        Ok(Self {
            object: part("evidence.object", seen.object)?,
            ttc_s: seen.ttc_s,
            ttc_low_s: seen.ttc_low_s,
            ttc_high_s: seen.ttc_high_s,
            observed_s: seen.observed_s,
            distance_m: seen.distance_m,
            closing_speed_m_s: seen.closing_speed_m_s,
        })
    }
}

impl From<&ObjectRef> for proto::ObjectRef {
    fn from(object: &ObjectRef) -> Self {
        Self {
            tracker: object.tracker.clone(),
            id: object.id,
            label: object.label.clone(),
            score: object.score,
            r#box: Some((&object.bbox).into()),
        }
    }
}

impl TryFrom<proto::ObjectRef> for ObjectRef {
    type Error = BadField;

    fn try_from(object: proto::ObjectRef) -> Result<Self, BadField> {
        Ok(Self {
            tracker: object.tracker,
            id: object.id,
            label: object.label,
            score: object.score,
            bbox: part("evidence.object.box", object.r#box)?,
        })
    }
}
