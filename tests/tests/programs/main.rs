//! The other built programs and sub-commands, as a user runs them.

mod adas;
mod cli;
mod demo;
mod eval;
mod fine_tuning;
mod monitor;
mod page;
mod sim;
mod train;
