//! Reader for the subset of Python's pickle format that state dicts need.
//!
//! A pickle is a program for a stack machine, and in Python it can call any function. This machine calls
//! nothing: it knows the few names of [`Global`] and builds plain values. CPython's `Lib/pickletools.py`
//! describes the format.
//!
//! [`Global`]: value::Global

mod call;
mod cursor;
mod machine;
mod value;

pub(super) use cursor::Cursor;
pub(super) use machine::load;
pub(super) use value::{Object, StorageRef, TensorSpec, Value};

/// The content of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    pub(super) fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value)? {
            Object::Dict(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    /// Returns all storages that the pickle refers to, including those that no tensor of the state dict uses.
    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageRef<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
