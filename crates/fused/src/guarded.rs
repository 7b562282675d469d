//! Calls of the C++ code beside this file. It catches all exceptions and returns their messages, which become errors
//! here.

use std::{ffi::CStr, os::raw::c_char, ptr::NonNull};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::FusedError;

const MESSAGE: usize = 1024;

fn reason(message: &[c_char; MESSAGE]) -> String {
    // SAFETY: the callee writes a message with a terminating zero within the buffer, which is all zeros at the start.
    unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned()
}

/// Calls a function that returns a pointer to a new object, or null and a message.
pub(crate) fn call<T>(
    operator: &'static str,
    call: impl FnOnce(*mut c_char, usize) -> *mut T,
) -> Result<NonNull<T>, FusedError> {
    let mut error = [0; MESSAGE];
    let pointer = call(error.as_mut_ptr(), MESSAGE);
    NonNull::new(pointer).ok_or_else(|| FusedError { operator, reason: reason(&error) })
}

/// Calls a function that returns a new tensor, or null and a message.
pub(crate) fn tensor(
    operator: &'static str,
    work: impl FnOnce(*mut c_char, usize) -> *mut C_tensor,
) -> Result<Tensor, FusedError> {
    // SAFETY: the tensor is new, and this is its only owner.
    call(operator, work).map(|tensor| unsafe { Tensor::from_ptr(tensor.as_ptr()) })
}

/// Calls a function that returns whether it succeeded, and a message if it did not.
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
