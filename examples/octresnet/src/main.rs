//! `octresnet`: trains, evaluates and uses octave ResNets.

mod cli;
mod commands;
mod inspect;
mod logging;
mod memory;
mod network;
mod panics;
mod table;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::keep_freed_pages();
    let arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    logging::init();
    match panics::contain(|| commands::run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            // `{:#}` puts the causes behind the error in the same line.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
