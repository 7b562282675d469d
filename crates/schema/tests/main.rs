//! Integration tests of `lookout-schema`, as one binary to keep the linking time low.

mod golden;
mod json_schema;
