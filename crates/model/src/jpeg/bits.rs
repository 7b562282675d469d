//! Reads the bits of a scan, without the zero bytes that are stuffed after each 0xff.

use super::{JpegDamage, next_marker};

pub(super) struct Bits<'f> {
    file: &'f [u8],
    /// Position of the next byte to read.
    at: usize,
    /// Bits that were read and not yet taken, at the lower end.
    buffer: u64,
    count: u32,
}

impl<'f> Bits<'f> {
    pub(super) fn new(file: &'f [u8], at: usize) -> Self {
        Self { file, at, buffer: 0, count: 0 }
    }

    /// Returns the approximate read position in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.file.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 1;
                    0xff
                }
                // Fill bytes before a marker.
                Some([0xff, 0xff, ..]) => {
                    self.at += 1;
                    continue;
                }
                Some([0xff, ..]) | Some([]) | None => return,
                Some([byte, ..]) => *byte,
            };
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// Returns the next 16 bits, filled up with zeros, and the number of available bits.
    pub(super) fn peek(&mut self) -> (u16, u32) {
        if self.count < 16 {
            self.fill();
        }
        let bits = match self.count.checked_sub(16) {
            Some(more) => self.buffer >> more,
            None => self.buffer << (16 - self.count),
        };
        (bits as u16, self.count)
    }

    /// Takes `count` bits, at most 16.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, JpegDamage> {
        if self.count < count {
            self.fill();
            if self.count < count {
                return Err(self.ended());
            }
        }
        self.count -= count;
        let mask = (1_u64 << count) - 1;
        Ok((self.buffer >> self.count & mask) as u32)
    }

    /// Returns the error for missing bits.
    pub(super) fn ended(&self) -> JpegDamage {
        match next_marker(self.file, self.at) {
            Some((code, at)) => JpegDamage::EndsEarly { at, marker: 0xff00 | u16::from(code) },
            None => JpegDamage::CutOff,
        }
    }

    /// Skips to the next marker and returns its code and position. The bytes before it must be padding, or at
    /// most `MAX_LEFT_OVER`.
    pub(super) fn skip_to_marker(&mut self) -> Result<(u8, usize), JpegDamage> {
        let (code, end) = next_marker(self.file, self.at).ok_or(JpegDamage::CutOff)?;
        let whole = self.count / 8;
        let buffered = (0..whole).map(|place| (self.buffer >> (8 * place)) as u8);
        let rest = self.file[self.at..end].iter().copied().filter(|byte| *byte != 0xff);
        let mut left = buffered.chain(rest);
        if let Some(first) = left.next() {
            let (mut bytes, mut padding) = (1, true);
            for byte in left {
                bytes += 1;
                padding &= byte == first;
            }
            if bytes > super::MAX_LEFT_OVER && !padding {
                return Err(JpegDamage::LeftOver { at: end, bytes });
            }
        }
        self.at = end + 2;
        (self.buffer, self.count) = (0, 0);
        Ok((code, end))
    }
}
