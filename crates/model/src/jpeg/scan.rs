//! Decodes the blocks of a scan: sequential (ITU-T T.81, annex F) and progressive (annex G).

use super::{JpegDamage, Tables, bits::Bits, huffman::Table};

pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
}

pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors.
    pub(super) h: u32,
    pub(super) v: u32,
    /// For a progressive image, a bit mask per block of the coefficients that are not zero so far. A later scan
    /// has one more bit for each of them.
    pub(super) nonzero: Vec<u64>,
}

impl Frame {
    /// Returns the number of the component's blocks per row and per column in a scan that contains only this
    /// component.
    fn blocks(&self, component: &Component) -> [u32; 2] {
        let [h, v] = self.factors();
        [(self.width * component.h).div_ceil(8 * h), (self.height * component.v).div_ceil(8 * v)]
    }

    fn factors(&self) -> [u32; 2] {
        let h = self.components.iter().map(|component| component.h).max().unwrap_or(1);
        let v = self.components.iter().map(|component| component.v).max().unwrap_or(1);
        [h, v]
    }
}

pub(super) struct Scan {
    /// For each component, its index in the frame and the indices of its DC and AC tables.
    components: Vec<(usize, usize, usize)>,
    /// The first and last coefficient of the scan's spectral band.
    first: u32,
    last: u32,
    /// Whether the scan refines coefficients of earlier scans by one bit.
    refines: bool,
}

/// Huffman tables of one component of a scan.
struct Coded<'t> {
    dc: Option<&'t Table>,
    ac: Option<&'t Table>,
}

impl Scan {
    pub(super) fn parse(segment: &[u8], frame: &Frame) -> Option<Self> {
        let (&count, rest) = segment.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, bits] = rest.first_chunk()?;
        let part = |part: &[u8]| {
            let place = frame.components.iter().position(|component| component.id == part[0])?;
            Some((place, usize::from(part[1] >> 4), usize::from(part[1] & 15)))
        };
        let components: Option<Vec<_>> = parts.chunks_exact(2).map(part).collect();
        let components = components.filter(|components| (1..=4).contains(&components.len()))?;
        let (first, last) = (u32::from(first), u32::from(last));
        if !frame.progressive {
            return Some(Self { components, first: 0, last: 63, refines: false });
        }
        // DC and AC coefficients are in separate scans, and an AC scan has exactly one component.
        let sound = if first == 0 { last == 0 } else { first <= last && last <= 63 && components.len() == 1 };
        sound.then_some(Self { components, first, last, refines: bits >> 4 != 0 })
    }

    /// Walks through the scan's data from the byte `at` and returns the position of its end. Returns `None` if
    /// a table is not defined.
    pub(super) fn walk(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        file: &[u8],
        at: usize,
    ) -> Result<Option<usize>, JpegDamage> {
        let coded: Vec<Coded<'_>> = self
            .components
            .iter()
            .map(|(_, dc, ac)| Coded {
                dc: tables.dc.get(*dc).and_then(Option::as_deref),
                ac: tables.ac.get(*ac).and_then(Option::as_deref),
            })
            .collect();
        let needs_dc = self.first == 0 && !self.refines;
        let needs_ac = self.last > 0;
        if coded.iter().any(|coded| needs_dc && coded.dc.is_none() || needs_ac && coded.ac.is_none()) {
            return Ok(None);
        }
        let alone = if let [(place, ..)] = self.components[..] { Some(place) } else { None };
        if let Some(place) = alone.filter(|_| frame.progressive && self.first > 0) {
            let [across, down] = frame.blocks(&frame.components[place]);
            frame.components[place].nonzero.resize(across as usize * down as usize, 0);
        }
        // In a scan of one component, the unit is a single block; otherwise an MCU has `h * v` blocks of each
        // component.
        let [across, down] = match alone {
            Some(place) => frame.blocks(&frame.components[place]),
            None => {
                let [h, v] = frame.factors();
                [frame.width.div_ceil(8 * h), frame.height.div_ceil(8 * v)]
            }
        };
        let each: Vec<u32> = self
            .components
            .iter()
            .map(|(place, ..)| {
                let component = &frame.components[*place];
                if alone.is_some() { 1 } else { component.h * component.v }
            })
            .collect();
        let mut nonzero =
            alone.map(|place| std::mem::take(&mut frame.components[place].nonzero)).unwrap_or_default();
        let mut bits = Bits::new(file, at);
        let mut end_run = 0_u32;
        let mut expected = 0_u8;
        let all = across as usize * down as usize;
        for mcu in 0..all {
            if tables.restart_interval > 0 && mcu > 0 && mcu.is_multiple_of(tables.restart_interval) {
                let (code, at) = bits.skip_to_marker()?;
                if code != 0xd0 + expected {
                    return Err(JpegDamage::EndsEarly { at, marker: 0xff00 | u16::from(code) });
                }
                expected = (expected + 1) % 8;
                end_run = 0;
            }
            for (coded, blocks) in coded.iter().zip(&each) {
                for _ in 0..*blocks {
                    let history = nonzero.get_mut(mcu);
                    self.block(&mut bits, coded, history, &mut end_run)?;
                }
            }
        }
        if let Some(place) = alone {
            frame.components[place].nonzero = nonzero;
        }
        let (_, end) = bits.skip_to_marker()?;
        Ok(Some(end))
    }

    fn block(
        &self,
        bits: &mut Bits<'_>,
        coded: &Coded<'_>,
        history: Option<&mut u64>,
        end_run: &mut u32,
    ) -> Result<(), JpegDamage> {
        let mut first = self.first;
        if first == 0 {
            match coded.dc {
                _ if self.refines => drop(bits.take(1)?),
                Some(table) => {
                    let size = table.symbol(bits)?;
                    if size > 16 {
                        return Err(JpegDamage::Code { at: bits.at() });
                    }
                    bits.take(size.into())?;
                }
                None => {}
            }
            first = 1;
        }
        let Some(table) = coded.ac.filter(|_| self.last > 0) else { return Ok(()) };
        match history {
            None => sequential(bits, table),
            Some(nonzero) if !self.refines => first_pass(bits, table, [first, self.last], nonzero, end_run),
            Some(nonzero) => refine(bits, table, [first, self.last], nonzero, end_run),
        }
    }
}

fn sequential(bits: &mut Bits<'_>, table: &Table) -> Result<(), JpegDamage> {
    let mut place = 1;
    while place < 64 {
        let symbol = table.symbol(bits)?;
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match (run, size) {
            (15, 0) => place += 16,
            (_, 0) => break,
            _ => {
                bits.take(size)?;
                place += run + 1;
            }
        }
        if place > 64 {
            return Err(JpegDamage::Code { at: bits.at() });
        }
    }
    Ok(())
}

/// Returns the number of blocks, including this one, that have no more coefficients.
fn run_of_ends(bits: &mut Bits<'_>, run: u32) -> Result<u32, JpegDamage> {
    Ok((1 << run) + bits.take(run)?)
}

fn first_pass(
    bits: &mut Bits<'_>,
    table: &Table,
    [first, last]: [u32; 2],
    nonzero: &mut u64,
    end_run: &mut u32,
) -> Result<(), JpegDamage> {
    if *end_run > 0 {
        *end_run -= 1;
        return Ok(());
    }
    let mut place = first;
    while place <= last {
        let symbol = table.symbol(bits)?;
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match (run, size) {
            (15, 0) => place += 16,
            (run, 0) => {
                *end_run = run_of_ends(bits, run)? - 1;
                break;
            }
            _ => {
                place += run;
                bits.take(size)?;
                if place > last {
                    return Err(JpegDamage::Code { at: bits.at() });
                }
                *nonzero |= 1 << place;
                place += 1;
            }
        }
    }
    Ok(())
}

fn refine(
    bits: &mut Bits<'_>,
    table: &Table,
    [first, last]: [u32; 2],
    nonzero: &mut u64,
    end_run: &mut u32,
) -> Result<(), JpegDamage> {
    let mut place = first;
    if *end_run == 0 {
        while place <= last {
            let symbol = table.symbol(bits)?;
            let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
            match size {
                0 if run < 15 => {
                    *end_run = run_of_ends(bits, run)?;
                    break;
                }
                0 => {}
                // The sign of a coefficient that becomes 1 or -1.
                1 => drop(bits.take(1)?),
                _ => return Err(JpegDamage::Code { at: bits.at() }),
            }
            while place <= last {
                if *nonzero >> place & 1 == 1 {
                    bits.take(1)?;
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                place += 1;
            }
            if size == 1 {
                if place > last {
                    return Err(JpegDamage::Code { at: bits.at() });
                }
                *nonzero |= 1 << place;
            }
            place += 1;
        }
    }
    if *end_run > 0 {
        for place in place..=last {
            if *nonzero >> place & 1 == 1 {
                bits.take(1)?;
            }
        }
        *end_run -= 1;
    }
    Ok(())
}
