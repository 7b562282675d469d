//! The types that `build.rs` generates from `schemas/lookout.proto`.
#![expect(unreachable_pub, reason = "the generator's way")]

include!(concat!(env!("OUT_DIR"), "/lookout.v1.rs"));
