//! Python's pickle format, as far as state dicts need it.
//!
//! A pickle is a program for a small stack machine; in Python it can call anything. This machine has
//! no way to call: it knows the few names of [`Global`] and builds plain values. The format is
//! described in CPython's `Lib/pickletools.py`.

mod call;
mod cursor;
mod machine;
mod value;

pub(super) use cursor::Cursor;
pub(super) use machine::load;
pub(super) use value::{Object, StorageRef, TensorSpec, Value, shortened};

/// What a pickle holds.
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

    /// Every storage that is named, whether a tensor of the state dict uses it or not.
    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageRef<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
