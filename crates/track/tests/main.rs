//! The integration tests of `lookout-track`, in a single binary to save link time.

mod closing;
mod places;
mod restart;
mod sequences;
mod session_tracker;
