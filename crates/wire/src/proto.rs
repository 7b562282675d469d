//! The types that `build.rs` makes of `schemas/lookout.proto`.
#![expect(unreachable_pub, reason = "the generator's way")]

include!(concat!(env!("OUT_DIR"), "/lookout.v1.rs"));
