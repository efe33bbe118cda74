//! Huffman-coded blocks of coefficients.

use memchr::memchr;

/// Bits by which a code is looked up. Nearly all codes of photographs are shorter.
const LOOKAHEAD: u32 = 10;

/// Moves the position in a block beyond its end.
const END_OF_BLOCK: u8 = 127;

/// Place of the coefficient in a block, by its place in the file; those beyond the block all go
/// to a place of their own, so that nothing has to be asked while a block is read.
static UN_ZIGZAG: [u8; 256] = {
    let mut places = [64; 256];
    let (mut x, mut y) = (0_u8, 0_u8);
    let mut number = 0;
    while number < 64 {
        places[number] = 8 * y + x;
        let up = (x + y).is_multiple_of(2);
        match (up, x, y) {
            (true, 7, _) => y += 1,
            (true, _, 0) => x += 1,
            (true, _, _) => (x, y) = (x + 1, y - 1),
            (false, _, 7) => x += 1,
            (false, 0, _) => y += 1,
            (false, _, _) => (x, y) = (x - 1, y + 1),
        }
        number += 1;
    }
    places
};

/// A block's coefficients, row by row, and the place for those beyond it.
pub(super) type Block = [i32; 65];

/// What a code says, as four numbers in one; none of them is 0 in all.
///
/// - bits 0 to 5: bits of the code and of the value that follows it
/// - bits 8 to 11: bits of the value
/// - bits 16 to 22: how many coefficients are zero before it
/// - bits 24 to 28: bits of the code
#[derive(Clone, Copy, Debug, Default)]
struct Symbol(u32);

/// Which coefficients a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dc,
    Ac,
}

impl Kind {
    /// Most bits of a value: two symbols, one of them an AC one, fit into a refilled buffer.
    fn most_bits(self) -> u8 {
        match self {
            Self::Dc => 11,
            Self::Ac => 10,
        }
    }
}

/// A Huffman code.
#[derive(Debug)]
pub(super) struct Table {
    kind: Kind,
    /// What it was made of: how many codes there are of each length, then their values.
    spec: Vec<u8>,
    short: Box<[Symbol; 1 << LOOKAHEAD]>,
    /// For each length: the first number that is no code, and what makes a number a place in
    /// `symbols`.
    ranges: [(u32, u32); 17],
    symbols: Vec<Symbol>,
}

impl Table {
    /// Makes a table of a file's 16 counts and the values; nothing if they make no code.
    pub fn new(kind: Kind, spec: &[u8]) -> Option<Self> {
        let (lengths, values) = spec.split_first_chunk::<16>()?;
        let mut table = Self {
            kind,
            spec: spec.to_vec(),
            short: Box::new([Symbol::default(); 1 << LOOKAHEAD]),
            ranges: [(0, 0); 17],
            symbols: Vec::with_capacity(values.len()),
        };
        let mut code = 0_u32;
        let mut values = values.iter();
        for (length, &count) in (1..=16).zip(lengths) {
            table.ranges[length as usize].1 = (table.symbols.len() as u32).wrapping_sub(code);
            for &value in values.by_ref().take(count.into()) {
                // The code of ones alone is not used.
                if code + 1 >= 1 << length {
                    return None;
                }
                let symbol = Symbol::new(kind, length as u8, value)?;
                table.symbols.push(symbol);
                if length <= LOOKAHEAD {
                    let spread = LOOKAHEAD - length;
                    let first = (code << spread) as usize;
                    table.short[first..first + (1 << spread)].fill(symbol);
                }
                code += 1;
            }
            table.ranges[length as usize].0 = code;
            code <<= 1;
        }
        Some(table)
    }

    /// Whether it was made of the same.
    pub fn is(&self, kind: Kind, spec: &[u8]) -> bool {
        self.kind == kind && self.spec == spec
    }

    /// The symbol at the front of `bits`.
    #[inline(always)]
    fn look_up(&self, bits: u64) -> Option<Symbol> {
        let symbol = self.short[(bits >> (64 - LOOKAHEAD)) as usize];
        if symbol.0 > 0 {
            return Some(symbol);
        }
        self.look_up_long(bits)
    }

    #[cold]
    fn look_up_long(&self, bits: u64) -> Option<Symbol> {
        for length in LOOKAHEAD + 1..=16 {
            let code = (bits >> (64 - length)) as u32;
            let (limit, offset) = self.ranges[length as usize];
            if code < limit {
                return self
                    .symbols
                    .get(code.wrapping_add(offset) as usize)
                    .copied();
            }
        }
        None
    }
}

impl Symbol {
    fn new(kind: Kind, code: u8, value: u8) -> Option<Self> {
        let (zeros, size) = match kind {
            Kind::Dc => (0, value),
            Kind::Ac => match (value >> 4, value & 15) {
                // Sixteen zeros.
                (15, 0) => (15, 0),
                (_, 0) => (END_OF_BLOCK, 0),
                run_and_size => run_and_size,
            },
        };
        // More than eight bits a sample can lead to.
        if size > kind.most_bits() {
            return None;
        }
        let [code, size] = [code, size].map(u32::from);
        Some(Self(
            (code + size) | size << 8 | u32::from(zeros) << 16 | code << 24,
        ))
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.0 & 63
    }

    #[inline(always)]
    fn zeros(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The value that follows the code: its highest bit tells the sign.
    #[inline(always)]
    fn value(self, buffer: u64) -> i32 {
        let all = (1_u64 << (self.0 >> 8 & 15)) - 1;
        let value = buffer.rotate_left(self.bits()) & all;
        let positive = ((buffer << (self.0 >> 24)) as i64 >> 63) as u64;
        (value as i32) - (all & !positive) as i32
    }
}

/// The coded data without what is stuffed into it, cut at the restart markers.
#[derive(Debug, Default)]
pub(super) struct Coded {
    bytes: Vec<u8>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Coded {
    /// Takes the data up to the marker that ends the image; false if another one comes before.
    pub fn fill(&mut self, mut data: &[u8]) -> bool {
        self.bytes.clear();
        self.ends.clear();
        loop {
            let Some(mark) = memchr(0xFF, data) else {
                return false;
            };
            match data.get(mark + 1) {
                Some(0) => {
                    self.bytes.extend_from_slice(&data[..=mark]);
                    data = &data[mark + 2..];
                }
                Some(0xD0..=0xD7) => {
                    self.bytes.extend_from_slice(&data[..mark]);
                    self.ends.push(self.bytes.len());
                    data = &data[mark + 2..];
                }
                Some(0xD9) => {
                    self.bytes.extend_from_slice(&data[..mark]);
                    self.ends.push(self.bytes.len());
                    return true;
                }
                _ => return false,
            }
        }
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.ends.len()
    }

    /// Reads part `number`.
    pub fn part(&self, number: usize) -> Bits<'_> {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        Bits {
            bytes: &self.bytes[start..self.ends[number]],
            at: 0,
            buffer: 0,
            count: 0,
        }
    }
}

/// Reads bits, and zeros after the end.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The first byte of which less than all is in the buffer.
    at: usize,
    /// The next bits, the first one highest.
    buffer: u64,
    /// How many bits of the buffer count.
    count: u32,
}

impl Bits<'_> {
    /// Whether more was read than there is.
    pub fn overrun(&self) -> bool {
        8 * self.at - self.count as usize > 8 * self.bytes.len()
    }

    /// Makes sure of 56 bits, enough for two symbols.
    #[inline(always)]
    fn refill(&mut self) {
        let next = match self.bytes.get(self.at..self.at + 8) {
            Some(&[a, b, c, d, e, f, g, h]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => near_end(self.bytes.get(self.at..).unwrap_or_default()),
        };
        // More bits than are counted: they will be the same when they come again.
        self.buffer |= next >> self.count;
        self.at += (63 - self.count as usize) / 8;
        self.count |= 56;
    }

    /// Takes a symbol and its value off the buffer.
    #[inline(always)]
    fn take(&mut self, table: &Table) -> Option<(Symbol, i32)> {
        let symbol = table.look_up(self.buffer)?;
        let value = symbol.value(self.buffer);
        self.buffer <<= symbol.bits();
        self.count -= symbol.bits();
        Some((symbol, value))
    }

    /// Reads a block: tells `coefficient` the number in the file and the value of each but the
    /// first, and adds the first one's difference to `dc`, its value in the block before.
    ///
    /// Gives how many coefficients of the file there were up to the last one; nothing if the data
    /// is damaged.
    #[inline(always)]
    fn read(
        &mut self,
        [dc_table, ac_table]: [&Table; 2],
        dc: &mut i32,
        mut coefficient: impl FnMut(usize, i32),
    ) -> Option<usize> {
        self.refill();
        *dc = dc.wrapping_add(self.take(dc_table)?.1);
        let mut next = 1;
        loop {
            // The buffer is filled for two symbols, the first of which is the DC one.
            for fill in [true, false] {
                let (symbol, value) = self.take(ac_table)?;
                let place = next + usize::from(symbol.zeros());
                coefficient(place, value);
                if place >= 63 {
                    return match place {
                        63 => Some(64),
                        // Well ended, or beyond the end.
                        _ => (symbol.zeros() == END_OF_BLOCK).then_some(next),
                    };
                }
                next = place + 1;
                if fill {
                    self.refill();
                }
            }
        }
    }

    /// Reads a block into `block`, which is zero: each coefficient times its step. Returns what
    /// [`read`](Self::read) does.
    #[inline(always)]
    pub fn read_block(
        &mut self,
        tables: [&Table; 2],
        steps: &Block,
        dc: &mut i32,
        block: &mut Block,
    ) -> Option<usize> {
        let length = self.read(tables, dc, |number, value| {
            let natural = natural(number);
            block[natural] = value.wrapping_mul(steps[natural]);
        })?;
        block[0] = dc.wrapping_mul(steps[0]);
        Some(length)
    }

    /// Reads a block of which nothing is needed but what the next one builds upon.
    #[inline(always)]
    pub fn skip_block(&mut self, tables: [&Table; 2], dc: &mut i32) -> Option<()> {
        self.read(tables, dc, |_, _| ()).map(|_| ())
    }
}

#[cold]
fn near_end(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

/// The place in a block of a file's `number`th step or coefficient, counted from 0 to 255.
#[inline(always)]
pub(super) fn natural(number: usize) -> usize {
    UN_ZIGZAG[number & 255].into()
}
