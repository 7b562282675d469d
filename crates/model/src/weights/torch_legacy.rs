//! The format of `torch.save` before torch 1.6, still available as an option: five pickles, then the storages.
//!
//! The pickles are a magic number, the version of the format, a dict about the machine, the saved object, and
//! the list of the storages' keys. Each storage is its number of elements (8 bytes) and the elements. See
//! `_legacy_save` in torch's `torch/serialization.py`.

use std::{borrow::Cow, collections::HashMap};

use tch::{Kind, Tensor};

use super::{
    FormatError, assemble,
    names::{Named, tensors},
    pickle::{Cursor, Pickle, Value, load},
};

/// The magic number 0x1950a86a20f9469cfc6c as a pickle stores it, in little-endian order.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The only version of the format.
const VERSION: i64 = 1001;

/// Returns whether the file starts with the pickle of the magic number.
pub(super) fn is_legacy(file: &[u8]) -> bool {
    // The pickle has 15 bytes, or 24 with protocol 4 and later.
    let head = &file[..file.len().min(32)];
    head.first() == Some(&0x80) && head.windows(MAGIC.len()).any(|window| window == MAGIC)
}

pub(super) fn read(file: &[u8]) -> Result<Named<Tensor>, FormatError> {
    let mut cursor = Cursor::new(file);
    if load(&mut cursor)?.root != Value::Wide(&MAGIC) {
        return Err(FormatError::Unknown);
    }
    if load(&mut cursor)?.root != Value::Int(VERSION) {
        return Err(FormatError::malformed("its version of the format before torch 1.6 is unknown"));
    }
    machine(&load(&mut cursor)?)?;
    let object = load(&mut cursor)?;
    let keys = load(&mut cursor)?;
    let Some(keys) = keys.list(keys.root) else {
        return Err(FormatError::malformed("its list of storages is not a list"));
    };
    let kinds: HashMap<&str, Kind> = object.storages().map(|storage| (storage.key, storage.kind)).collect();
    let mut storages: HashMap<&str, &[u8]> = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else {
            return Err(FormatError::malformed("a storage's key is not a string"));
        };
        let Some(kind) = kinds.get(key) else {
            return Err(FormatError::malformed("it lists a storage that no tensor uses"));
        };
        let numel = u64::from_le_bytes(cursor.array()?);
        let bytes = numel
            .checked_mul(kind.elt_size_in_bytes() as u64)
            .ok_or(FormatError::Truncated { at: cursor.at(), wanted: u64::MAX })?;
        if storages.insert(key, cursor.take(bytes)?).is_some() {
            return Err(FormatError::malformed("it lists a storage twice"));
        }
    }
    if cursor.left() > 0 {
        return Err(FormatError::malformed(format!("{} bytes follow its last storage", cursor.left())));
    }
    assemble::assemble(tensors(&object)?, file.len(), |storage| {
        let bytes = storages.get(storage.key).copied().map(Cow::Borrowed);
        bytes.ok_or_else(|| FormatError::malformed("a tensor's storage is not listed"))
    })
}

/// Returns an error if the file was written on a big-endian machine.
fn machine(about: &Pickle<'_>) -> Result<(), FormatError> {
    let items = about.dict(about.root).unwrap_or_default();
    match items.iter().find(|(key, _)| *key == Value::Text("little_endian")) {
        Some((_, Value::Bool(true))) => Ok(()),
        Some((_, Value::Bool(false))) => Err(FormatError::BigEndian),
        _ => Err(FormatError::malformed("it does not state its byte order")),
    }
}
