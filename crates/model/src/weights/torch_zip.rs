//! The format of `torch.save` since torch 1.6: a zip archive with a pickle and one entry per storage.
//!
//! Entries are `NAME/data.pkl`, `NAME/data/KEY`, `NAME/byteorder` and others that are not needed here. None of
//! them is compressed. See torch's `torch/serialization.py` and `caffe2/serialize/inline_container.h`.

use std::{borrow::Cow, io};

use tch::Tensor;
use zip::{CompressionMethod, ZipArchive};

use super::{
    FormatError, assemble,
    names::{Named, tensors},
    pickle::{Cursor, load},
};

pub(super) fn read(file: &[u8]) -> Result<Named<Tensor>, FormatError> {
    let archive = ZipArchive::new(io::Cursor::new(file)).map_err(|error| match has_end(file) {
        true => error.into(),
        false => FormatError::CutOff { bytes: file.len() },
    })?;
    if archive.has_duplicate_names() {
        return Err(FormatError::malformed("two entries of its zip archive have the same name"));
    }
    let prefix = prefix(&archive)?;
    let mut entries = Entries { archive, prefix, left: file.len() };
    if entries.has("constants.pkl") {
        return Err(FormatError::TorchScript);
    }
    if entries.has("byteorder") && entries.read("byteorder")? != b"little" {
        return Err(FormatError::BigEndian);
    }
    let program = entries.read("data.pkl")?;
    let pickle = load(&mut Cursor::new(&program))?;
    assemble::assemble(tensors(&pickle)?, file.len(), |storage| {
        entries.read(&format!("data/{}", storage.key)).map(Cow::Owned)
    })
}

/// Returns whether the archive's end-of-central-directory record exists. It is missing if the file is
/// truncated.
fn has_end(file: &[u8]) -> bool {
    const RECORD: usize = 22;
    const MAX_COMMENT: usize = 1 << 16;
    let end = &file[file.len().saturating_sub(RECORD + MAX_COMMENT)..];
    end.windows(RECORD).any(|record| record.starts_with(b"PK\x05\x06"))
}

/// Returns the folder that contains all entries. It is the name under which the file was first saved.
fn prefix(archive: &ZipArchive<io::Cursor<&[u8]>>) -> Result<String, FormatError> {
    let mut found = None;
    for name in archive.file_names() {
        let name = name?;
        let Some(prefix) = name.strip_suffix("data.pkl").filter(|prefix| prefix.ends_with('/')) else {
            continue;
        };
        if found.replace(prefix.to_owned()).is_some() {
            return Err(FormatError::malformed("its zip archive holds two pickles"));
        }
    }
    found.ok_or_else(|| FormatError::malformed("it is a zip archive, but not one that torch.save wrote"))
}

struct Entries<'f> {
    archive: ZipArchive<io::Cursor<&'f [u8]>>,
    prefix: String,
    /// Number of bytes that may still be read. Entries can overlap, so their sum could exceed the file's size.
    left: usize,
}

impl Entries<'_> {
    fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{}{name}", self.prefix)).is_some()
    }

    /// Returns the bytes of an entry. The zip reader checks their CRC-32.
    fn read(&mut self, name: &str) -> Result<Vec<u8>, FormatError> {
        let entry = self.archive.by_name(&format!("{}{name}", self.prefix))?;
        if entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size() {
            return Err(FormatError::malformed(
                "its zip archive is compressed, which torch.save does not do",
            ));
        }
        let size = usize::try_from(entry.size()).ok().filter(|size| *size <= self.left);
        let Some(size) = size else {
            return Err(FormatError::malformed("the entries of its zip archive are larger than the file"));
        };
        self.left -= size;
        let mut bytes = Vec::with_capacity(size);
        let mut entry = entry;
        io::Read::read_to_end(&mut entry, &mut bytes).map_err(FormatError::Entry)?;
        Ok(bytes)
    }
}
