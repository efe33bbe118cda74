//! What subcommands print.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

/// Prints a result. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

pub(crate) fn print_json(result: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(result)?)
}

/// Says every few seconds how many images of how many have been looked at.
pub(crate) fn progress() -> impl FnMut(usize, usize) {
    let mut last = Instant::now();
    move |done, total| {
        if last.elapsed() >= Duration::from_secs(5) {
            last = Instant::now();
            eprintln!("{done} of {total} images");
        }
    }
}
