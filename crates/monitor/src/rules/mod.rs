//! Rules: the conditions on records that raise alerts. Pure: records and the time are arguments, and the
//! state of a rule for a camera is data that is stored with the camera.
//!
//! Each kind of rule is one file, which implements [`rule::Rule`], and one line in [`kinds`].

mod absence;
mod active;
mod alert;
mod alert_subject;
mod camera_down;
mod condition;
mod count;
mod dwell;
mod frame_input;
mod kinds;
mod latency;
mod line;
mod rule;

mod worker_down;

pub(crate) use self::{
    active::ActiveRules,
    alert::CONSUMER,
    frame_input::FrameInput,
    rule::{CameraDown, Subject},
};
pub use self::{
    kinds::KINDS,
    rule::{AnyRule, MonitorSettings, RuleKind, RuleSettings},
};
