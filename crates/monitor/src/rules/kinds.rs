//! The table of all kinds of rules.

use super::{
    absence::Absence, camera_down::CameraIsDown, count::Count, dwell::Dwell, latency::Latency,
    line::LineCrossing, rule::RuleKind, worker_down::WorkerDown,
};

/// All kinds of rules. A new kind is a file in this folder and a line here.
pub static KINDS: [RuleKind; 7] = [
    RuleKind::of::<Count>(),
    RuleKind::of::<LineCrossing>(),
    RuleKind::of::<Dwell>(),
    RuleKind::of::<CameraIsDown>(),
    RuleKind::of::<WorkerDown>(),
    RuleKind::of::<Latency>(),
    RuleKind::of::<Absence>(),
];
