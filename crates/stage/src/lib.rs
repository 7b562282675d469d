//! Defines the types that pass between the stages, the ledger that counts frames, and the traits that connect stages.
//!
//! Each frame is accounted for by its [`Ticket`]: the stage that drops a frame states the cause, and a ticket that is
//! lost when a stage fails counts itself as dropped on `Drop`. No stage has to count frames itself.
#![warn(missing_docs)]

mod detect;
mod detection_filter;
mod drop_oldest;
mod exponential_backoff;
mod findings;
mod fit;
mod fleet_event;
mod frame;
mod frame_skip;
mod frame_source;
mod gpu_scaler;
mod input_size;
mod ledger;
mod ownership;
mod panic_text;
mod permit;
mod pixels;
mod queue;
mod record_sink;
mod sink_health;
mod snapshot;
mod stop;

pub use detect::{BatchResult, Detect, DetectError, DetectFrame};
pub use detection_filter::DetectionFilter;
pub use drop_oldest::DropOldestSender;
pub use exponential_backoff::ExponentialBackoff;
pub use findings::{FrameResult, InferenceResult};
pub use fit::{ResizeMode, ResizeTransform};
pub use fleet_event::FleetEvent;
pub use frame::{BatchClosed, Frame, FrameBatch, FrameHeader};
pub use frame_skip::FrameSkip;
pub use frame_source::{CameraReport, FrameSource, SourceEnd, SourceOutlet};
pub use gpu_scaler::{GpuScaler, Nv12Frame, ScalePlan, YuvFactors};
pub use input_size::InputSize;
pub use ledger::{CameraLedger, Ticket};
pub use ownership::{BootTime, Lease, Ownership};
pub use panic_text::{describe_panic, panic_text};
pub use permit::{Permit, Permits};
pub use pixels::{GpuImage, Pixels};
pub use queue::{CameraIntake, CameraQueue, TryRecv, WhenFull, camera_queue};
pub use record_sink::RecordSink;
pub use sink_health::{RefusalCount, SinkHealth};
pub use snapshot::{Canvas, PendingImage, Snapshot, SnapshotPace, SnapshotPermit};
pub use stop::{Stop, StopOnDrop, stop_signal};
