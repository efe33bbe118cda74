use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// JSON with a line for every name, and lists, which are short here, in one line.
pub(super) fn to_json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut json = Vec::new();
    let lines = Lines(PrettyFormatter::new());
    value.serialize(&mut Serializer::with_formatter(&mut json, lines))?;
    json.push(b'\n');
    // The serializer writes nothing but UTF-8.
    Ok(String::from_utf8_lossy(&json).into_owned())
}

struct Lines<'a>(PrettyFormatter<'a>);

impl Formatter for Lines<'_> {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_are_in_one_line() {
        let value = serde_json::json!({"a": [0.5, 1], "b": {"c": []}});
        let json = super::to_json(&value).unwrap();
        assert_eq!(
            json,
            "{\n  \"a\": [0.5, 1],\n  \"b\": {\n    \"c\": []\n  }\n}\n"
        );
    }
}
