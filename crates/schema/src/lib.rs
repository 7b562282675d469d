//! The public interface of Lookout: identifiers, timestamps, and the records that it writes to Kafka.
//!
//! This crate defines everything that a consumer may rely on, and in addition [`Rect`] and [`shortened`], which
//! most crates need. Each record has its kind and major version in the field `schema`; the topic's name also ends
//! with the major version. Consumers must ignore unknown fields.
#![warn(missing_docs)]

mod alert;
mod format;
mod frame;
mod geometry;
mod id;
mod ledger;
mod region;
mod registry;
mod shortened;
mod snapshot;
mod status;
mod time;
mod topic;
mod track;
mod tracker_algorithm;
mod validate;

pub use alert::{AlertEvidence, AlertLevel, AlertRecord, AlertState, CollisionEvidence, FrameRef, ObjectRef};
pub use format::RecordFormat;
pub use frame::{Classification, Detection, FrameRecord, ModelInfo, TimingUs};
pub use geometry::{BBox, Rect, Size};
pub use id::{CameraId, Epoch, InvalidId, InvalidSession, SessionId, WorkerId};
pub use ledger::{DropCause, ExpireCause, LedgerCounts, LedgerImbalance};
pub use region::{InvalidRegion, Region};
pub use registry::{CameraSpec, ClaimRecord, RegistryRecord};
pub use shortened::shortened;
pub use snapshot::SnapshotRecord;
pub use status::{
    CameraStatus, CameraStatusRecord, RetryReason, StatusRecord, WorkerFleet, WorkerLoad, WorkerState,
    WorkerStatusRecord,
};
pub use time::{Clock, InvalidTimestamp, Timestamp};
pub use topic::{InvalidTopicPrefix, RecordKind, Topics};
pub use track::{LineCrossing, LineDirection, TrackEvent, TrackRecord, ZoneStay};
pub use tracker_algorithm::{TrackerAlgorithm, UnknownTracker};
pub use validate::{InvalidRecord, MAX_DETECTIONS, MAX_NAME, MAX_SIDE, MAX_TEXT};
