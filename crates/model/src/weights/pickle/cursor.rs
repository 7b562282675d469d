//! A read position in a file's bytes that never moves past their end.

use crate::weights::FormatError;

/// A read position in a file's bytes.
#[derive(Debug, Clone)]
pub(in crate::weights) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(in crate::weights) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bytes that are left.
    pub(in crate::weights) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Returns the number of bytes that were read.
    pub(in crate::weights) fn at(&self) -> usize {
        self.at
    }

    /// Reads the next `count` bytes. `count` may come from the file, because it causes no allocation.
    pub(in crate::weights) fn take(&mut self, count: u64) -> Result<&'a [u8], FormatError> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let taken = taken.ok_or(FormatError::Truncated { at: self.at, wanted: count })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(in crate::weights) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads `count` bytes of UTF-8 text.
    pub(super) fn text(&mut self, count: u64) -> Result<&'a str, FormatError> {
        let at = self.at;
        std::str::from_utf8(self.take(count)?).map_err(|_| FormatError::pickle(at, "a string is not UTF-8"))
    }

    /// Reads UTF-8 text up to a line feed, which is also consumed.
    pub(super) fn line(&mut self) -> Result<&'a str, FormatError> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(FormatError::Truncated { at: self.at, wanted: rest.len() as u64 + 1 });
        };
        let text = self.text(length as u64)?;
        self.at += 1;
        Ok(text)
    }
}
