//! The tables of PyTorch's oldest files, tar archives, in which small pickles and plain bytes take turns.
//!
//! Where a pickle ends and bytes begin depends on what the pickles say. So their values are read
//! here, and pickles that do not say it plainly, as `torch.save` did, are refused.

use std::io::{Cursor, Read};

use super::pickle::{Budget, walk};

/// What an entry of a table may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Int(u64),
    Text,
    Class(String),
}

/// Goes through the table of storages: their number, then of each a pickle (key, location, class), the number
/// of elements, and these; at last a list of views.
pub(super) fn storages(table: &[u8], budget: &mut Budget) -> Result<(), String> {
    let mut table = Cursor::new(table);
    for _ in 0..count(&mut table)? {
        let fields = fields(&mut table)?;
        let [.., Field::Class(class)] = fields.as_slice() else {
            return Err(unusual());
        };
        let bytes = element_size(class).and_then(|size| size.checked_mul(int(&mut table).ok()?));
        let end = bytes.and_then(|bytes| table.position().checked_add(bytes));
        table.set_position(end.ok_or_else(unusual)?);
    }
    walk(&mut table, budget)
}

/// Goes through the table of tensors: their number, then of each a pickle (key, storage, class), the rank in
/// eight bytes, sizes, strides and offset.
pub(super) fn tensors(table: &[u8]) -> Result<(), String> {
    let mut table = Cursor::new(table);
    for _ in 0..count(&mut table)? {
        fields(&mut table)?;
        let rank = int(&mut table)? & u64::from(u32::MAX);
        for _ in 0..2 * rank + 1 {
            int(&mut table)?;
        }
    }
    Ok(())
}

fn element_size(class: &str) -> Option<u64> {
    match class {
        "DoubleStorage" | "LongStorage" => Some(8),
        "FloatStorage" | "IntStorage" => Some(4),
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => Some(2),
        "CharStorage" | "ByteStorage" | "BoolStorage" => Some(1),
        _ => None,
    }
}

fn count(table: &mut Cursor<&[u8]>) -> Result<u64, String> {
    match fields(table)?.as_slice() {
        [Field::Int(count)] => Ok(*count),
        _ => Err(unusual()),
    }
}

fn int(table: &mut Cursor<&[u8]>) -> Result<u64, String> {
    take(table).map(u64::from_le_bytes)
}

/// The values of a pickle that is one value or a tuple of up to three.
fn fields(table: &mut Cursor<&[u8]>) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    while fields.len() <= 3 {
        let [opcode] = take(table)?;
        match opcode {
            b'.' => return Ok(fields),
            // The tuple itself, and memos.
            b'(' | b't' | 0x87 => {}
            0x80 | b'q' => {
                take::<1>(table)?;
            }
            b'r' => {
                take::<4>(table)?;
            }
            b'K' => fields.push(Field::Int(u64::from(u8::from_le_bytes(take(table)?)))),
            b'M' => fields.push(Field::Int(u64::from(u16::from_le_bytes(take(table)?)))),
            b'J' => {
                let int = i32::from_le_bytes(take(table)?);
                fields.push(Field::Int(u64::try_from(int).map_err(|_| unusual())?));
            }
            0x8a => {
                let [length] = take(table)?;
                let bytes = exactly(table, usize::from(length))?;
                let (low, high) = bytes.split_at(bytes.len().min(8));
                if high.iter().any(|&byte| byte != 0) {
                    return Err(unusual());
                }
                let int = low.iter().rev();
                let int = int.fold(0, |int, &byte| int << 8 | u64::from(byte));
                fields.push(Field::Int(int));
            }
            b'X' => {
                let length = u32::from_le_bytes(take(table)?);
                fields.push(text(table, length as usize)?);
            }
            b'U' => {
                let [length] = take(table)?;
                fields.push(text(table, usize::from(length))?);
            }
            b'c' => {
                line(table)?;
                fields.push(Field::Class(line(table)?));
            }
            _ => break,
        }
    }
    Err(unusual())
}

fn take<const N: usize>(table: &mut Cursor<&[u8]>) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let read = table.read_exact(&mut bytes);
    read.map_err(|_| unusual()).map(|()| bytes)
}

/// So many bytes, of which there may be less than the file says.
fn exactly(table: &mut Cursor<&[u8]>, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = table.take(length as u64).read_to_end(&mut bytes);
    match read {
        Ok(read) if read == length => Ok(bytes),
        _ => Err(unusual()),
    }
}

fn text(table: &mut Cursor<&[u8]>, length: usize) -> Result<Field, String> {
    let text = exactly(table, length)?;
    match std::str::from_utf8(&text) {
        Ok(_) => Ok(Field::Text),
        Err(_) => Err(unusual()),
    }
}

fn line(table: &mut Cursor<&[u8]>) -> Result<String, String> {
    let mut line = String::new();
    loop {
        match take(table)? {
            [b'\n'] => return Ok(line),
            [byte] => line.push(char::from(byte)),
        }
    }
}

fn unusual() -> String {
    "tar: its tables are not as PyTorch writes them".into()
}
