//! The integration tests of `lookout-monitor`, in a single binary to save link time.

mod http;
mod pipelines;
mod rule_config;
mod run;
