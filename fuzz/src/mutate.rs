//! Damage to inputs, as disks, networks, editors and attackers do it.

use rand::{Rng, RngExt, seq::IndexedRandom};

/// The longest input.
const MAX_LENGTH: usize = 1 << 20;

/// Numbers at which sizes, counts and offsets break.
const NUMBERS: [u64; 22] = [
    0,
    1,
    2,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    32_767,
    32_768,
    65_535,
    65_536,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// A seed with one to eight changes.
///
/// # Panics
///
/// If there are no seeds.
pub fn mutated(seeds: &[Vec<u8>], words: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).expect("there are seeds").clone();
    for _ in 0..1 << rng.random_range(0..4) {
        change(&mut bytes, seeds, words, rng);
        bytes.truncate(MAX_LENGTH);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[Vec<u8>], rng: &mut impl Rng) {
    let at = place(bytes.len(), rng);
    let run = at..(at + rng.random_range(1..=16)).min(bytes.len());
    match rng.random_range(0..14) {
        0 => bytes.truncate(at),
        1 | 2 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        3 if at < bytes.len() => bytes[at] = rng.random(),
        4 => bytes[run].fill(*[0, 0xff].choose(rng).expect("there are two")),
        5 => drop(bytes.drain(run)),
        6 => {
            let copy = bytes[run].repeat(1 << rng.random_range(0..6));
            bytes.splice(at..at, copy);
        }
        7 => {
            let seed = seeds.choose(rng).expect("there are seeds");
            bytes.truncate(at);
            bytes.extend_from_slice(&seed[place(seed.len(), rng)..]);
        }
        8 | 9 => write_number(bytes, at, rng),
        10 => write_digits(bytes, at, rng),
        11 => put(bytes, at, word(words, rng), rng.random()),
        _ => {
            let token = token(bytes, at);
            bytes.splice(token, word(words, rng).iter().copied());
        }
    }
}

/// A place in an input: headers are at the start, and in archives at the end.
fn place(length: usize, rng: &mut impl Rng) -> usize {
    match rng.random_range(0..4) {
        0 => rng.random_range(0..=length.min(64)),
        1 => length - rng.random_range(0..=length.min(256)),
        _ => rng.random_range(0..=length),
    }
}

fn word<'a>(words: &'a [Vec<u8>], rng: &mut impl Rng) -> &'a [u8] {
    words.choose(rng).map_or(&[], Vec::as_slice)
}

/// Puts `new` in the place of what is there, or before it.
fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8], before: bool) {
    let end = if before {
        at
    } else {
        (at + new.len()).min(bytes.len())
    };
    bytes.splice(at..end, new.iter().copied());
}

/// A number of 1 to 8 bytes, of either order.
fn write_number(bytes: &mut Vec<u8>, at: usize, rng: &mut impl Rng) {
    let number = *NUMBERS.choose(rng).expect("there are numbers");
    let number = number.wrapping_add_signed(rng.random_range(-1..=1));
    let length = 1 << rng.random_range(0..4);
    let little = &number.to_le_bytes()[..length];
    let big = &number.to_be_bytes()[8 - length..];
    put(bytes, at, if rng.random() { little } else { big }, false);
}

/// The first number that is written in digits from `at` on becomes another.
fn write_digits(bytes: &mut Vec<u8>, at: usize, rng: &mut impl Rng) {
    let digits = |rest: &[u8]| rest.iter().position(u8::is_ascii_digit);
    let Some(start) = digits(&bytes[at..]).map(|found| at + found) else {
        return;
    };
    let length = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let end = start + length.count();
    let number = NUMBERS.choose(rng).expect("there are numbers").to_string();
    bytes.splice(start..end, number.into_bytes());
}

/// The number, name or quoted text around a place in a text.
fn token(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._\"/".contains(byte);
    let before = bytes[..at].iter().rev().take_while(|byte| inside(byte));
    let after = bytes[at..].iter().take_while(|byte| inside(byte));
    at - before.count().min(64)..at + after.count().min(64)
}
