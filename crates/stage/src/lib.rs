//! Defines the types that pass between the stages, the ledger that counts frames, and the traits that connect stages.
//!
//! Each frame is accounted for by its [`Ticket`]: the stage that drops a frame states the cause, and a ticket that is
//! lost when a stage fails counts itself as dropped on `Drop`. No stage has to count frames itself.

mod findings;
mod fit;
mod fleet_event;
mod frame;
mod gpu_scaler;
mod input;
mod keep;
mod ledger;
mod permit;
mod pixels;
mod queue;
mod report;
mod seams;
mod sink_health;
mod snapshot;
mod stop;
mod tenure;
mod thin;

pub use findings::{Findings, FrameResult};
pub use fit::{Fit, Placement};
pub use fleet_event::FleetEvent;
pub use frame::{BatchClosed, Frame, FrameBatch, FrameHeader};
pub use gpu_scaler::{GpuScaler, Nv12Frame, ScalePlan, YuvFactors};
pub use input::InputSize;
pub use keep::Keep;
pub use ledger::{CameraLedger, Ticket};
pub use permit::{Permit, Permits};
pub use pixels::{GpuPicture, Pixels};
pub use queue::{CameraIntake, CameraQueue, TryRecv, WhenFull, camera_queue};
pub use report::{CameraReport, SourceEnd};
pub use seams::{Detect, DetectError, DetectFrame, Detected, FrameSource, RecordSink, SourceOutlet};
pub use sink_health::{RefusalCount, SinkHealth};
pub use snapshot::{Canvas, Picture, Snapshot, SnapshotLeave, SnapshotPace};
pub use stop::{Stop, StopOnDrop, stop_signal};
pub use tenure::{BootTime, Lease, Tenure};
pub use thin::Thinning;
