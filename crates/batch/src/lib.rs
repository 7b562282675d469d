//! Batches across cameras: pure, time is an argument.
