//! The types that `build.rs` makes of `schemas/lookout.proto`.
#![expect(unreachable_pub, clippy::large_enum_variant, reason = "the generator's way")]

include!(concat!(env!("OUT_DIR"), "/lookout.v1.rs"));
