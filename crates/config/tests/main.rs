//! The integration tests of `lookout-config`, in one program that is linked once.

mod adas;
mod documented;
mod monitor;
mod recipes;
mod rules;
