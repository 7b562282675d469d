//! Huffman codes (ITU-T T.81, annex C).

use super::{JpegDamage, bits::Bits};

/// Codes up to this length in bits are decoded by a single table lookup.
const LOOKAHEAD: usize = 9;

pub(super) struct Table {
    /// Indexed by the next [`LOOKAHEAD`] bits: the code's length in the upper byte and the symbol in the lower
    /// byte, or 0 if the code is longer.
    short: [u16; 1 << LOOKAHEAD],
    /// For each length, the first code that is too large for it, extended with zeros to 16 bits.
    end: [u32; 17],
    /// For each length, the offset from a code to the index of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Creates a table. `counts` holds the number of codes of each length from 1 to 16 bits. Returns `None` if
    /// these numbers of codes are impossible.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table =
            Self { short: [0; 1 << LOOKAHEAD], end: [0; 17], offset: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, count) in (1..).zip(counts) {
            table.offset[length] = place as i32 - code as i32;
            for _ in 0..*count {
                if code >> length != 0 {
                    return None;
                }
                if let Some(free) = LOOKAHEAD.checked_sub(length) {
                    let first = (code as usize) << free;
                    table.short[first..first + (1 << free)]
                        .fill((length as u16) << 8 | u16::from(symbols[place]));
                }
                code += 1;
                place += 1;
            }
            table.end[length] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// Takes the next code and returns its symbol.
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, JpegDamage> {
        let (next, there) = bits.peek();
        let short = self.short[usize::from(next) >> (16 - LOOKAHEAD)];
        let (length, symbol) = match short {
            0 => self.long(next).ok_or_else(|| match there >= 16 {
                true => JpegDamage::Code { at: bits.at() },
                false => bits.ended(),
            })?,
            _ => (u32::from(short >> 8), short as u8),
        };
        bits.take(length)?;
        Ok(symbol)
    }

    fn long(&self, next: u16) -> Option<(u32, u8)> {
        let next = u32::from(next);
        let length = (1..=16).find(|length| next < self.end[*length])?;
        let place = (next >> (16 - length)) as i32 + self.offset[length];
        let symbol = self.symbols.get(usize::try_from(place).ok()?)?;
        Some((length as u32, *symbol))
    }
}
