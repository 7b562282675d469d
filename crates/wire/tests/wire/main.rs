//! Records through both formats, and the formats against each other and against what was released.

mod fields;
mod proto;
mod released;
mod round_trip;
mod sound;
