//! Integration tests of `lookout-config`, as one binary to keep the linking time low.

mod adas;
mod documented;
mod monitor;
mod recipes;
mod rules;
