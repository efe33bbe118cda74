//! What a pickle would cost to parse, told without parsing it.
//!
//! The reader of PyTorch files builds a value for every opcode and a copy for every memo, about a hundred
//! bytes for a byte of pickle. The walk here goes through the same opcodes with the same stack, marks
//! and memo, but what it keeps of a value is what that value would cost.

use std::{
    collections::HashMap,
    io::{BufRead, Read},
};

/// Bytes that an opcode may cost: a value on the stack or in the memo, and the room that a table leaves
/// to grow.
const OPCODE: u64 = 256;

/// Bytes that a dictionary costs before anything is in it.
const DICTIONARY: u64 = 512;

/// Bytes of pickle that every file may be worth. A state_dict costs some 10 kB a tensor here.
const ALLOWANCE: u64 = 128 << 20;

/// Bytes of pickle for a byte of file.
const PER_BYTE: u64 = 8;

/// Bytes of pickle that no file may be worth.
const LIMIT: u64 = 512 << 20;

/// The memory that is left for the pickles of a file.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    /// In proportion to the size of the file, which counts what it really takes.
    pub(super) fn of_file(size: u64) -> Self {
        let limit = size.saturating_mul(PER_BYTE).saturating_add(ALLOWANCE);
        let limit = limit.min(LIMIT);
        Self { limit, left: limit }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            format!(
                "its pickle would take more than {} MB of memory, which is no checkpoint's",
                self.limit >> 20
            )
        })?;
        Ok(())
    }
}

/// What is kept of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Value {
    /// Bytes that it takes, and with it everything inside.
    bytes: u64,
    /// Values inside that may be tensors, each of which gets a name.
    leaves: u64,
    /// Bytes of the names that those have so far: the keys on the way to them.
    names: u64,
    /// Bytes of text, if it is a text.
    text: u64,
    /// Where it stands in the memo.
    memo: Option<u32>,
}

impl Value {
    /// A value that holds the others.
    fn holding(values: &[Self], own: u64) -> Self {
        let sum = |of: fn(&Self) -> u64| values.iter().map(of).fold(0u64, u64::saturating_add);
        let leaves = sum(|value| value.leaves).max(1);
        Self {
            bytes: sum(|value| value.bytes).saturating_add(own),
            leaves,
            // The index of an item is part of the name.
            names: sum(|value| value.names).saturating_add(leaves.saturating_mul(20)),
            text: 0,
            memo: None,
        }
    }
}

/// Walks one pickle, up to and with its end.
///
/// # Errors
///
/// A message, if it is no pickle or costs more than is left of the budget.
pub(super) fn walk(input: &mut impl BufRead, budget: &mut Budget) -> Result<(), String> {
    let mut walk = Walk {
        input,
        budget,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while walk.step()? {}
    Ok(())
}

struct Walk<'a, R> {
    input: &'a mut R,
    budget: &'a mut Budget,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<R: BufRead> Walk<'_, R> {
    /// Takes one opcode; false after the last.
    fn step(&mut self) -> Result<bool, String> {
        self.budget.spend(OPCODE)?;
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => self.skip::<1>()?,
            0x95 => self.skip::<8>()?,
            // Numbers and constants, by the bytes that follow.
            b'N' | b')' | b']' | 0x88 | 0x89 | 0x8f => self.push(Value::default())?,
            b'}' => self.push_own(DICTIONARY)?,
            b'K' => self.number::<1>()?,
            b'M' => self.number::<2>()?,
            b'J' => self.number::<4>()?,
            b'G' => self.number::<8>()?,
            // Texts, bytes and long numbers: by lines, then by length.
            b'I' | b'L' | b'F' | b'V' | b'P' => {
                let text = self.line()?;
                self.text(text)?;
            }
            b'c' => {
                let text = self.line()? + self.line()?;
                self.text(text)?;
            }
            b'U' | b'C' | 0x8a | 0x8c => {
                let [length] = self.take()?;
                self.sized(u64::from(length))?;
            }
            b'T' | b'X' | b'B' | 0x8b => {
                let length = u32::from_le_bytes(self.take()?);
                self.sized(u64::from(length))?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.take()?);
                self.sized(length)?;
            }
            // Sequences.
            b'(' => self.marks.push(self.stack.len()),
            b't' | b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Value::holding(&items, 0))?;
            }
            0x85..=0x87 => self.join(usize::from(opcode - 0x84))?,
            b'a' => {
                let item = self.pop()?;
                self.add(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.add(&items)?;
            }
            // Dictionaries.
            b'd' => {
                let items = self.since_mark()?;
                self.push_own(DICTIONARY)?;
                self.add_pairs(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.add_pairs(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.add_pairs(&items)?;
            }
            // The stack.
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.since_mark()?;
            }
            b'2' => {
                let top = *self.top()?;
                self.push(top)?;
            }
            // The memo.
            b'g' | b'h' | b'j' => {
                let index = self.index(opcode)?;
                self.recall(index)?;
            }
            b'p' | b'q' | b'r' | 0x94 => {
                let index = self.index(opcode)?;
                self.remember(index)?;
            }
            // Objects: what is called keeps what it is called with.
            b'Q' => self.join(1)?,
            0x93 | b'R' | 0x81 => self.join(2)?,
            0x92 => self.join(3)?,
            b'b' => self.build()?,
            other => return Err(format!("its pickle has the unknown opcode {other:#04x}")),
        }
        Ok(true)
    }

    fn skip<const N: usize>(&mut self) -> Result<(), String> {
        self.take::<N>().map(drop)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        let read = self.input.read_exact(&mut bytes);
        read.map_err(|error| ends(&error)).map(|()| bytes)
    }

    /// Skips a line and returns its length.
    fn line(&mut self) -> Result<u64, String> {
        let length = self.input.skip_until(b'\n').map_err(|error| ends(&error))?;
        Ok(length as u64)
    }

    /// The place in the memo that an opcode means.
    fn index(&mut self, opcode: u8) -> Result<u32, String> {
        match opcode {
            b'g' | b'p' => self.line_index(),
            b'h' | b'q' => self.take().map(|[index]| u32::from(index)),
            b'j' | b'r' => self.take().map(u32::from_le_bytes),
            // The next free one.
            _ => u32::try_from(self.memo.len()).map_err(|_| malformed()),
        }
    }

    /// The number that a line has.
    fn line_index(&mut self) -> Result<u32, String> {
        let mut line = Vec::new();
        let read = self.input.take(32).read_until(b'\n', &mut line);
        read.map_err(|error| ends(&error))?;
        let text = std::str::from_utf8(&line).ok();
        let text = text.and_then(|text| text.strip_suffix('\n'));
        let index = text.and_then(|text| text.strip_suffix('\r').unwrap_or(text).parse().ok());
        index.ok_or_else(malformed)
    }

    fn number<const N: usize>(&mut self) -> Result<(), String> {
        self.take::<N>()?;
        // As long as a number may be as a key.
        self.text(20)
    }

    /// Skips what says its length first.
    fn sized(&mut self, length: u64) -> Result<(), String> {
        // Paid before it is read: a length that lies may be any.
        self.text(length)?;
        let skipped = std::io::copy(&mut self.input.take(length), &mut std::io::sink());
        match skipped {
            Ok(skipped) if skipped == length => Ok(()),
            Ok(_) => Err("its pickle ends too early".into()),
            Err(error) => Err(ends(&error)),
        }
    }

    /// Pushes a text; its room has grown in doubles.
    fn text(&mut self, length: u64) -> Result<(), String> {
        self.budget.spend(length.saturating_mul(2))?;
        self.push(Value {
            bytes: length.saturating_mul(2),
            text: length,
            ..Value::default()
        })
    }

    fn push_own(&mut self, bytes: u64) -> Result<(), String> {
        self.budget.spend(bytes)?;
        self.push(Value {
            bytes,
            ..Value::default()
        })
    }

    /// Pushes a value that is paid for already, but for its place.
    fn push(&mut self, value: Value) -> Result<(), String> {
        // Names are made once all is parsed, and in several copies.
        if value.names > self.budget.limit / 4 {
            return self.budget.spend(u64::MAX);
        }
        self.stack.push(Value {
            bytes: value.bytes.saturating_add(OPCODE),
            leaves: value.leaves.max(1),
            ..value
        });
        Ok(())
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(malformed());
        }
        self.stack.last_mut().ok_or_else(malformed)
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.top()?;
        self.stack.pop().ok_or_else(malformed)
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or_else(malformed)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// Makes one of the topmost values.
    fn join(&mut self, count: usize) -> Result<(), String> {
        let values = (0..count).map(|_| self.pop());
        let values = values.collect::<Result<Vec<_>, _>>()?;
        self.push(Value::holding(&values, 0))
    }

    /// Puts values into the one on top.
    fn add(&mut self, values: &[Value]) -> Result<(), String> {
        let mut top = self.pop()?;
        let added = Value::holding(values, 0);
        top.bytes = top.bytes.saturating_add(added.bytes);
        top.leaves = top.leaves.saturating_add(added.leaves);
        top.names = top.names.saturating_add(added.names);
        self.push(top)
    }

    /// Puts keys and values into the dictionary on top.
    fn add_pairs(&mut self, items: &[Value]) -> Result<(), String> {
        let mut pairs = items.chunks_exact(2);
        for pair in &mut pairs {
            let [key, mut value] = [pair[0], pair[1]];
            // Each of them is called after the key.
            let names = value.leaves.saturating_mul(key.text);
            value.names = value.names.saturating_add(names);
            value.bytes = value.bytes.saturating_add(key.bytes);
            self.add(&[value])?;
        }
        match pairs.remainder() {
            [] => Ok(()),
            _ => Err(malformed()),
        }
    }

    /// A copy of what is in the memo.
    fn recall(&mut self, index: u32) -> Result<(), String> {
        let value = *self.memo.get(&index).ok_or_else(malformed)?;
        self.budget.spend(value.bytes)?;
        self.push(value)
    }

    /// Copies the value on top into the memo.
    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        top.memo = Some(index);
        let value = *top;
        self.budget.spend(value.bytes)?;
        self.memo.insert(index, value);
        Ok(())
    }

    /// Gives an object its attributes, also in the memo.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let object = self.pop()?;
        let built = Value {
            memo: object.memo,
            ..Value::holding(&[object, state], 0)
        };
        if let Some(index) = built.memo {
            self.budget.spend(built.bytes)?;
            self.memo.insert(index, built);
        }
        self.push(built)
    }
}

fn ends(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "its pickle ends too early".into(),
        _ => format!("its pickle cannot be read: {error}"),
    }
}

fn malformed() -> String {
    "its pickle is no sequence of values".into()
}
