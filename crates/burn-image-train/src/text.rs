//! Numbers and messages as people read them.

use std::path::Path;

use burn_image_folder::shown;
use serde::Serializer;

/// A share as percent: 77.7 %.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A count with a separator every three digits.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A large count to four digits: 2.367 G, 318.2 M.
pub fn short_count(count: u64) -> String {
    short(count, 3)
}

/// A number of bytes to three digits: 12.8 MB.
pub fn short_bytes(bytes: u64) -> String {
    short(bytes, 2) + "B"
}

/// A count with a unit, and as many decimals as `decimals` after a single digit.
fn short(count: u64, decimals: usize) -> String {
    let count = count as f64;
    let (scaled, unit) = match count {
        1e9.. => (count / 1e9, "G"),
        1e6.. => (count / 1e6, "M"),
        _ => (count / 1e3, "k"),
    };
    let decimals = match scaled {
        100.0.. => decimals.saturating_sub(2),
        10.0.. => decimals.saturating_sub(1),
        _ => decimals,
    };
    format!("{scaled:.decimals$} {unit}")
}

/// A text of at most about `most` characters: of a longer one the start, which says what it is about,
/// and the end, which says what to do.
pub fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.into();
    }
    let start: String = text.chars().take(most * 2 / 3).collect();
    let end: String = text.chars().skip(count - most / 3).collect();
    format!("{start} … {end}")
}

/// Serializes a path as text, where JSON has no other: bytes that are no UTF-8 are replaced.
///
/// # Errors
///
/// What the serializer refuses.
pub fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The line of a message that says why: the one after Burn's `Caused by:`, or else the first.
pub(crate) fn first_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let line = lines.skip_while(|line| *line != "Caused by:").nth(1);
    shortened(line.unwrap_or(first), 300)
}

/// A message that repeats what is in a file, as it can be put on a terminal: control characters are
/// escaped, and of a long one the start and the end are left.
pub(crate) fn printable(message: &str) -> String {
    shown(shortened(message, 1000).as_ref())
}

/// The message of a caught panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_readable() {
        assert_eq!(thousands(25_557_032), "25,557,032");
        assert_eq!(thousands(999), "999");
        assert_eq!(short_count(2_367_054_848), "2.367 G");
        assert_eq!(short_count(318_200_000), "318.2 M");
        assert_eq!(short_bytes(12_845_056), "12.8 MB");
        assert_eq!(short_bytes(0), "0.00 kB");
        assert_eq!(percent(0.7768), "77.7 %");
    }

    #[test]
    fn what_a_file_holds_can_be_put_on_a_terminal() {
        assert_eq!(printable("no `\u{1b}[2J\n`: ä"), "no `\\u{1b}[2J\\n`: ä");
        assert!(printable(&"\0".repeat(1 << 20)).len() < 6_100);
    }

    #[test]
    fn a_long_message_becomes_the_line_that_says_why() {
        assert_eq!(first_line("no kernel\nat line 3"), "no kernel");
        let burns = "An error happened during execution\nCaused by:\n  the server is gone\nat 7";
        assert_eq!(first_line(burns), "the server is gone");
        assert_eq!(first_line(""), "");
        assert_eq!(first_line(&"x".repeat(400)).chars().count(), 303);
    }
}
