//! The integration tests of `lookout-monitor`, in one program that is linked once.

mod http;
mod run;
