//! The types that `build.rs` generates from `schemas/lookout.proto`.
#![expect(unreachable_pub, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/lookout.v1.rs"));
