//! The text of a caught panic.

use std::any::Any;

/// Returns the message of a panic that `catch_unwind` returned, if it is text.
pub fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// Returns the message of a panic for a log line or an error.
pub fn describe_panic(panic: &(dyn Any + Send)) -> String {
    format!("panicked: {}", panic_text(panic).unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, panic_any};

    use super::*;

    #[test]
    fn describes_panics_with_and_without_text() {
        let caught = |work: fn()| describe_panic(catch_unwind(work).unwrap_err().as_ref());
        assert_eq!(caught(|| panic!("text")), "panicked: text");
        assert_eq!(caught(|| panic!("{}", 7)), "panicked: 7");
        assert_eq!(caught(|| panic_any(7)), "panicked: without a message");
    }
}
