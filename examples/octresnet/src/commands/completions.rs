use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{cli::Cli, output::print};

/// Prints a script that lets a shell complete commands, flags and their values.
#[derive(Debug, Args)]
#[command(after_help = "\
The script goes to the standard output. Put it where your shell looks for such:

  octresnet completions bash     ~/.local/share/bash-completion/completions/octresnet
  octresnet completions zsh      _octresnet in a folder of $fpath
  octresnet completions fish     ~/.config/fish/completions/octresnet.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: CompletionsArgs) -> anyhow::Result<ExitCode> {
    // Into memory: the generator panics where its reader has gone.
    let mut script = Vec::new();
    generate(
        arguments.shell,
        &mut Cli::command(),
        "octresnet",
        &mut script,
    );
    print(String::from_utf8(script)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
