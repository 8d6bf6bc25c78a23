//! The entropy-coded data of one scan, walked block by block.

use super::Frame;
use super::huffman::{Bits, Table};

/// A component of the scan with its tables.
pub(super) struct Selected<'a> {
    pub component: usize,
    pub dc: Option<&'a Table>,
    pub ac: Option<&'a Table>,
}

/// A scan as its header describes it.
pub(super) struct Scan<'a> {
    pub frame: &'a mut Frame,
    pub selected: Vec<Selected<'a>>,
    /// First and last coefficient, in zigzag order.
    pub from: u8,
    pub to: u8,
    /// Whether it adds a bit to coefficients that an earlier scan began.
    pub refines: bool,
    pub interval: usize,
    /// Memory to be used again.
    pub scratch: Vec<u8>,
}

/// A block that no encoder writes.
struct Wrong;

impl Scan<'_> {
    /// Whether there can be such a scan, with the tables that it needs.
    pub fn is_possible(&self) -> bool {
        let band = match self.frame.progressive {
            true => self.to < 64 && self.from <= self.to && (self.from > 0 || self.to == 0),
            false => true,
        };
        let single = self.from == 0 || self.selected.len() == 1 || !self.frame.progressive;
        let needs_dc = self.from == 0 && !(self.frame.progressive && self.refines);
        let needs_ac = !self.frame.progressive || self.from > 0;
        let has = |one: &Selected| (!needs_dc || one.dc.is_some()) && (!needs_ac || one.ac.is_some());
        band && single && self.selected.iter().all(has)
    }

    /// Walks the data that begin at `at`; gives where the marker behind them stands.
    pub fn walk(&mut self, bytes: &[u8], mut at: usize) -> Result<usize, String> {
        let single = self.selected.len() == 1;
        let units = match (&self.selected[..], single) {
            ([one], true) => {
                let (wide, high) = self.frame.components[one.component].blocks;
                wide * high
            }
            _ => self.frame.units,
        };
        if self.from == 0 && !self.refines {
            for one in &self.selected {
                self.frame.components[one.component].seen = true;
            }
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut done = 0;
        for number in 0.. {
            let end = unstuff(bytes, at, &mut scratch);
            let count = if self.interval == 0 { units } else { self.interval.min(units - done) };
            let place = || format!("at about byte {} of {}", end.unwrap_or(bytes.len()), bytes.len());
            let mut bits = Bits::new(&scratch);
            let mut run = 0;
            for unit in done..done + count {
                let right = if single { self.block(0, unit, &mut bits, &mut run) } else { self.unit(&mut bits) };
                if bits.is_over() {
                    return Err(match end {
                        None => format!("cut short: {} % of a scan is there", 100 * unit / units.max(1)),
                        Some(_) => format!("damaged: too little data {}", place()),
                    });
                }
                if right.is_err() {
                    return Err(format!("damaged: an impossible code before byte {}", end.unwrap_or(bytes.len())));
                }
            }
            done += count;
            let Some(end) = end else { return Err("cut short: its end is missing".into()) };
            // Some cameras fill up with zeros.
            if bits.rest().iter().any(|&byte| byte != 0) {
                return Err(format!("damaged: too much data at about byte {end} of {}", bytes.len()));
            }
            if done >= units {
                self.scratch = scratch;
                return Ok(end);
            }
            let marker = bytes.get(end + 1).copied().unwrap_or(0);
            if marker != 0xD0 + (number % 8) as u8 {
                return Err(format!("damaged: data are missing at about byte {end} of {}", bytes.len()));
            }
            at = end + 2;
        }
        Ok(at)
    }

    /// An interleaved unit: some blocks of each component.
    fn unit(&mut self, bits: &mut Bits) -> Result<(), Wrong> {
        for index in 0..self.selected.len() {
            let component = &self.frame.components[self.selected[index].component];
            for _ in 0..component.across * component.down {
                self.block(index, 0, bits, &mut 0)?;
            }
        }
        Ok(())
    }

    /// Block `number` of the `index`-th component; `run` blocks without more coefficients are announced.
    #[inline]
    fn block(&mut self, index: usize, number: usize, bits: &mut Bits, run: &mut u32) -> Result<(), Wrong> {
        let Selected { component, dc, ac } = self.selected[index];
        if !self.frame.progressive {
            return whole(bits, dc.ok_or(Wrong)?, ac.ok_or(Wrong)?);
        }
        match (self.from, self.refines) {
            (0, false) => constant(bits, dc.ok_or(Wrong)?),
            (0, true) => {
                bits.number(1);
                Ok(())
            }
            (from, refines) => {
                let nonzero = self.frame.components[component].nonzero.get_mut(number).ok_or(Wrong)?;
                let band = Band { from: u32::from(from), to: u32::from(self.to), table: ac.ok_or(Wrong)? };
                if refines { band.refine(bits, nonzero, run) } else { band.begin(bits, nonzero, run) }
            }
        }
    }
}

/// The first coefficient.
#[inline]
fn constant(bits: &mut Bits, table: &Table) -> Result<(), Wrong> {
    match bits.symbol(table).ok_or(Wrong)? {
        size @ 0..=15 => {
            bits.skip(u32::from(size));
            Ok(())
        }
        _ => Err(Wrong),
    }
}

/// All 64 coefficients.
#[inline]
fn whole(bits: &mut Bits, dc: &Table, ac: &Table) -> Result<(), Wrong> {
    constant(bits, dc)?;
    let mut place = 1;
    while place < 64 {
        let symbol = bits.symbol(ac).ok_or(Wrong)?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => place += 16,
            (_, 0) => return Ok(()),
            (zeros, size) => {
                place += u32::from(zeros) + 1;
                if place > 64 {
                    return Err(Wrong);
                }
                bits.skip(u32::from(size));
            }
        }
    }
    Ok(())
}

/// Some coefficients of a progressive scan.
struct Band<'a> {
    from: u32,
    to: u32,
    table: &'a Table,
}

impl Band<'_> {
    /// A bit for each coefficient of the band from `place` on.
    fn ahead(&self, place: u32) -> u64 {
        if place > self.to { 0 } else { u64::MAX << place & u64::MAX >> (63 - self.to) }
    }

    fn begin(&self, bits: &mut Bits, nonzero: &mut u64, run: &mut u32) -> Result<(), Wrong> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let mut place = self.from;
        while place <= self.to {
            let symbol = bits.symbol(self.table).ok_or(Wrong)?;
            match (u32::from(symbol >> 4), u32::from(symbol & 15)) {
                (15, 0) => place += 16,
                (length, 0) => {
                    *run = (1 << length) + bits.number(length) - 1;
                    return Ok(());
                }
                (zeros, size) => {
                    place += zeros;
                    if place > self.to {
                        return Err(Wrong);
                    }
                    bits.skip(size);
                    *nonzero |= 1 << place;
                    place += 1;
                }
            }
        }
        Ok(())
    }

    fn refine(&self, bits: &mut Bits, nonzero: &mut u64, run: &mut u32) -> Result<(), Wrong> {
        let mut place = self.from;
        while *run == 0 && place <= self.to {
            let symbol = bits.symbol(self.table).ok_or(Wrong)?;
            let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
            match size {
                0 if zeros < 15 => {
                    *run = (1 << zeros) + bits.number(zeros);
                    break;
                }
                0 => {}
                1 => bits.skip(1),
                _ => return Err(Wrong),
            }
            // On to the place of the new coefficient, or past sixteen zeros; what is not zero on the way gets a bit.
            let mut free = !*nonzero & self.ahead(place);
            while zeros > 0 && free != 0 {
                free &= free - 1;
                zeros -= 1;
            }
            let next = if free == 0 { self.to + 1 } else { free.trailing_zeros() };
            bits.pass((*nonzero & self.ahead(place) & !self.ahead(next)).count_ones());
            place = next;
            if size == 1 {
                if place > self.to {
                    return Err(Wrong);
                }
                *nonzero |= 1 << place;
            }
            place += 1;
        }
        if *run > 0 {
            bits.pass((*nonzero & self.ahead(place)).count_ones());
            *run -= 1;
        }
        Ok(())
    }
}

/// Copies the entropy-coded bytes from `at` on, up to the next marker and without what keeps them apart from markers.
/// Gives where the marker stands, or nothing where the file ends first.
fn unstuff(bytes: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    out.clear();
    loop {
        let rest = bytes.get(at..)?;
        let plain = rest.iter().position(|&byte| byte == 0xFF).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        at += plain;
        match bytes.get(at + 1)? {
            0 => {
                out.push(0xFF);
                at += 2;
            }
            // Markers may be preceded by any number of these.
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}
