//! Where log messages go.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use burn_image_folder::shown;

/// The file that takes messages while something else owns the terminal.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Lets warnings through to the standard error stream, and more if `RUST_LOG` says so.
pub(crate) fn init() {
    // What stops Burn's loop, or a server that is gone, is reported where the run ends, once.
    let filter = env_logger::Env::default()
        .default_filter_or("warn,burn_train=off,burn_remote::client=error");
    env_logger::Builder::from_env(filter)
        .format(|out, record| {
            let level = match record.level() {
                log::Level::Warn => "warning".into(),
                level => level.to_string().to_lowercase(),
            };
            // Messages of libraries may quote a file, too.
            let message = shown(record.args().to_string().as_ref());
            writeln!(out, "{level}: {message}")
        })
        .target(env_logger::Target::Pipe(Box::new(Sink)))
        .init();
}

/// Sends messages to a file from here on, or back to the standard error stream. The file is made
/// with the first message.
pub(crate) fn redirect(path: Option<PathBuf>) {
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = path;
}

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &*FILE.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(path) => File::options()
                .create(true)
                .append(true)
                .open(path)?
                .write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
