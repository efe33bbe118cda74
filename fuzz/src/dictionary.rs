//! Dictionaries as libFuzzer reads them.

use std::fs;

use crate::paths;

/// The words of a dictionary.
pub(crate) fn words(name: &str) -> Vec<Vec<u8>> {
    let path = paths::repository(&format!("fuzz/dictionaries/{name}.dict"));
    let text = fs::read_to_string(path).expect("the dictionary can be read");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| word(line).unwrap_or_else(|| panic!("no word: {line}")))
        .collect()
}

/// A word in quotation marks, in which `\"`, `\\` and `\x00` to `\xff` stand for a byte.
fn word(line: &str) -> Option<Vec<u8>> {
    let mut letters = line.strip_prefix('"')?.strip_suffix('"')?.bytes();
    let mut word = Vec::new();
    while let Some(letter) = letters.next() {
        word.push(match letter {
            b'\\' => match letters.next()? {
                b'x' => {
                    let digits = [letters.next()?, letters.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                escaped => escaped,
            },
            letter => letter,
        });
    }
    Some(word)
}
