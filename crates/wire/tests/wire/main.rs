//! Records through both formats, and the formats against each other and against what was released.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fields;
mod proto;
mod released;
mod round_trip;
mod sound;
