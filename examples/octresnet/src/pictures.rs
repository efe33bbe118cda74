//! The bundled pictures, which the program brings to wherever it is.

/// The path of each, `train/<class>/<file>` or `val/<class>/<file>`, with its content.
pub(crate) static EMOJI: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/emoji.rs"));

/// Where they come from and what may be done with them, which has to go with them.
pub(crate) static EMOJI_ATTRIBUTION: (&str, &[u8]) = (
    "ATTRIBUTION.md",
    include_bytes!("../../data/emoji/ATTRIBUTION.md"),
);
