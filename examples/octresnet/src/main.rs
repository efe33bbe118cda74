//! `octresnet`: trains, evaluates and uses octave ResNets.

mod cli;
mod commands;
mod inspect;
mod logging;
mod memory;
mod network;
mod output;
mod panics;
mod pictures;
mod recipes;
mod table;
mod terminal;

use std::process::ExitCode;

use burn_image_folder::shown;
use burn_image_train::text::shortened;

/// Characters of an error that are printed: it may quote a file or a flag of any length.
const LONGEST_ERROR: usize = 1500;

fn main() -> ExitCode {
    memory::keep_freed_pages();
    report_large_files();
    let arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    logging::init();
    match panics::contain(|| commands::run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            // `{:#}` puts the causes behind the error in the same line.
            let line = shown(format!("{error:#}").as_ref());
            eprintln!("error: {}", shortened(&line, LONGEST_ERROR));
            ExitCode::FAILURE
        }
    }
}

/// Lets a file beyond `ulimit -f` be an error, as a full disk is, where it else would end the program
/// without a word.
#[cfg(unix)]
fn report_large_files() {
    // SAFETY: ignoring a signal installs no code, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn report_large_files() {}
