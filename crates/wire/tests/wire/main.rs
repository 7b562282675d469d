//! Round trips of records in both formats, and compatibility of the formats with each other and with the
//! released schema.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fields;
mod proto;
mod released;
mod round_trip;
mod valid;
