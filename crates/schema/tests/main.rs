//! The integration tests of `lookout-schema`, in one program that is linked once.

mod golden;
mod json_schema;
