//! Codes of variable length, and the bits that they are read from.

/// Codes that are at most so long are found in one look.
const QUICK: u32 = 9;

/// A table of codes.
pub(super) struct Table {
    /// By the next [`QUICK`] bits: length and symbol; a length of 0 where the code is longer.
    quick: Vec<(u8, u8)>,
    /// For each length, the first code beyond those of that length, left-aligned in 16 bits …
    limits: [u32; 17],
    /// … and what to add to a code of that length for the place of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// The table with `counts[n]` codes of length n + 1, for these symbols; `None` if there are no such codes.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table =
            Self { quick: vec![(0, 0); 1 << QUICK], limits: [0; 17], offsets: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = u32::from(counts[length as usize - 1]);
            if code + count > 1 << length {
                return None;
            }
            table.offsets[length as usize] = place as i32 - code as i32;
            if length <= QUICK {
                for (code, symbol) in (code..code + count).zip(&symbols[place..]) {
                    let spread = QUICK - length;
                    let first = (code << spread) as usize;
                    table.quick[first..first + (1 << spread)].fill((length as u8, *symbol));
                }
            }
            code += count;
            place += count as usize;
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }
}

/// Bits in order.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to be taken into the buffer; past the end the buffer is given zeros.
    next: usize,
    /// What comes next, from the highest bit on.
    buffer: u64,
    /// How much of the buffer is there.
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0, buffer: 0, count: 0 }
    }

    /// Makes sure that the buffer holds at least 32 bits.
    #[inline]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(word) = self.bytes.get(self.next..).and_then(|rest| rest.first_chunk()) {
            self.buffer |= u64::from_be_bytes(*word) >> self.count;
            self.next += ((63 - self.count) >> 3) as usize;
            self.count |= 56;
        } else {
            while self.count <= 56 {
                let byte = self.bytes.get(self.next).copied().unwrap_or(0);
                self.buffer |= u64::from(byte) << (56 - self.count);
                self.next += 1;
                self.count += 8;
            }
        }
    }

    /// The next symbol; `None` for bits that are no code.
    #[inline]
    pub fn symbol(&mut self, table: &Table) -> Option<u8> {
        self.fill();
        let (length, symbol) = table.quick[(self.buffer >> (64 - QUICK)) as usize];
        if length > 0 {
            self.drop(u32::from(length));
            return Some(symbol);
        }
        let ahead = (self.buffer >> 48) as u32;
        let length = (QUICK + 1..=16).find(|&length| ahead < table.limits[length as usize])?;
        let place = (ahead >> (16 - length)) as i32 + table.offsets[length as usize];
        self.drop(length);
        table.symbols.get(usize::try_from(place).ok()?).copied()
    }

    /// Passes over at most 16 bits that follow a symbol.
    #[inline]
    pub fn skip(&mut self, count: u32) {
        // A symbol leaves at least 16 bits of the 32.
        self.drop(count);
    }

    /// Passes over any number of bits.
    #[inline]
    pub fn pass(&mut self, mut count: u32) {
        while count > 0 {
            self.fill();
            let some = count.min(32);
            self.drop(some);
            count -= some;
        }
    }

    /// The next at most 16 bits as a number.
    pub fn number(&mut self, count: u32) -> u32 {
        self.fill();
        let value = if count == 0 { 0 } else { (self.buffer >> (64 - count)) as u32 };
        self.drop(count);
        value
    }

    #[inline]
    fn drop(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Whether more was read than there is.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.read() > 8 * self.bytes.len()
    }

    /// The bytes that nothing was read from.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.read().div_ceil(8)..).unwrap_or_default()
    }

    fn read(&self) -> usize {
        8 * self.next - self.count as usize
    }
}
