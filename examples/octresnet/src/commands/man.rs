use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use burn_image_folder::shown;
use clap::{Args, CommandFactory};

use crate::{cli::Cli, output::print};

/// Writes manual pages into a folder: one of the program, and one of each command.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet man ~/.local/share/man/man1
  man octresnet-train

Prints the folder. It is made if need be; pages of an earlier version are replaced.")]
pub(crate) struct ManArgs {
    /// Folder for the pages
    folder: PathBuf,
}

pub(super) fn run(arguments: ManArgs) -> anyhow::Result<ExitCode> {
    let folder = &arguments.folder;
    let shown = shown(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{shown}`"))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write manual pages into `{shown}`"))?;
    print(&shown)?;
    Ok(ExitCode::SUCCESS)
}
