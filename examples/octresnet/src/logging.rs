//! Where log messages go.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The file that takes messages while something else owns the terminal.
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Lets warnings through to the standard error stream, and more if `RUST_LOG` says so.
pub(crate) fn init() {
    // What stops Burn's loop is reported where the run ends, once.
    let filter = env_logger::Env::default().default_filter_or("warn,burn_train=off");
    env_logger::Builder::from_env(filter)
        .format(|out, record| {
            let level = match record.level() {
                log::Level::Warn => "warning".into(),
                level => level.to_string().to_lowercase(),
            };
            writeln!(out, "{level}: {}", record.args())
        })
        .target(env_logger::Target::Pipe(Box::new(Sink)))
        .init();
}

/// Sends messages to a file from here on, or back to the standard error stream.
pub(crate) fn redirect(path: Option<&Path>) -> io::Result<()> {
    let file = path.map(|path| File::options().create(true).append(true).open(path));
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = file.transpose()?;
    Ok(())
}

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *FILE.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
