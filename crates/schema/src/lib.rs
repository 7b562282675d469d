//! The public contract of Lookout: identifiers, time, and the records it writes to Kafka.
//!
//! Everything a consumer may rely on is in this crate. Beside it there are only [`Rect`] and [`shortened`], which
//! most crates need. Each record carries its version in `schema`; the major version also stands in the topic's
//! name. A consumer must ignore fields it does not know.

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
mod sound;
mod status;
mod time;
mod topic;
mod track;

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
pub use sound::{MAX_DETECTIONS, MAX_NAME, MAX_SIDE, MAX_TEXT, Unsound};
pub use status::{
    CameraStatus, CameraStatusRecord, RetryReason, StatusRecord, WorkerFleet, WorkerLoad, WorkerState,
    WorkerStatusRecord,
};
pub use time::{Clock, InvalidTimestamp, Timestamp};
pub use topic::{InvalidTopicPrefix, RecordKind, Topics};
pub use track::{LineCrossing, LineDirection, TrackEvent, TrackRecord, ZoneStay};
