//! Calls of the C++ beside this file, which ends every exception: what it returns, or its message.

use std::{ffi::CStr, os::raw::c_char, ptr::NonNull};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::FusedError;

const MESSAGE: usize = 1024;

fn reason(message: &[c_char; MESSAGE]) -> String {
    // SAFETY: the callee ends the message with a zero within the buffer, which is zero at the start.
    unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned()
}

/// Calls what returns a pointer of its own making, or null and a message.
pub(crate) fn call<T>(
    operator: &'static str,
    call: impl FnOnce(*mut c_char, usize) -> *mut T,
) -> Result<NonNull<T>, FusedError> {
    let mut error = [0; MESSAGE];
    let pointer = call(error.as_mut_ptr(), MESSAGE);
    NonNull::new(pointer).ok_or_else(|| FusedError { operator, reason: reason(&error) })
}

/// Calls what returns a new tensor, or null and a message.
pub(crate) fn tensor(
    operator: &'static str,
    work: impl FnOnce(*mut c_char, usize) -> *mut C_tensor,
) -> Result<Tensor, FusedError> {
    // SAFETY: a new tensor that nobody else has.
    call(operator, work).map(|tensor| unsafe { Tensor::from_ptr(tensor.as_ptr()) })
}

/// Calls what returns whether it succeeded, and a message where it did not.
pub(crate) fn check(
    operator: &'static str,
    work: impl FnOnce(*mut c_char, usize) -> bool,
) -> Result<(), FusedError> {
    let mut error = [0; MESSAGE];
    if work(error.as_mut_ptr(), MESSAGE) {
        Ok(())
    } else {
        Err(FusedError { operator, reason: reason(&error) })
    }
}
