//! libtorch's errors, which `tch`'s operators report by panics.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use lookout_stage::panic_text;

/// Returns the message of a libtorch panic without its C++ stack trace.
fn message(panic: &(dyn Any + Send)) -> String {
    without_trace(panic_text(panic).unwrap_or("it panicked")).to_owned()
}

/// Returns a libtorch error without its C++ stack trace.
pub(crate) fn without_trace(text: &str) -> &str {
    text.split("Exception raised from").next().unwrap_or(text).trim()
}

/// Runs `work` and returns a panic as an error. `tch`'s operators panic if libtorch returns an error.
///
/// Such errors are, for example, a lack of memory or an image that is too small for the network. Inference only reads
/// the parameters, so that the network can be used again afterwards.
///
/// # Errors
/// The message of the panic, without libtorch's C++ stack trace.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
}
