//! What the command does: a file for each subcommand, with its arguments.

mod evaluate;
mod info;
mod list;
mod predict;
mod train;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Subcommand;
use serde::Serialize;

use crate::cli::{Cli, ModelArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Train(train::TrainArgs),
    Evaluate(evaluate::EvaluateArgs),
    Predict(predict::PredictArgs),
    Info(info::InfoArgs),
    List(list::ListArgs),
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Train(arguments) => train::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Predict(arguments) => predict::run(arguments),
        Command::Info(arguments) => info::run(arguments),
        Command::List(arguments) => list::run(arguments),
    }
}

/// Prints a result. A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn print_json(result: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(result)?)
}

/// A share as percent.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A count with a separator every three digits.
fn thousands(count: u64) -> String {
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
fn short_count(count: u64) -> String {
    let count = count as f64;
    let (scaled, unit) = match count {
        1e9.. => (count / 1e9, "G"),
        1e6.. => (count / 1e6, "M"),
        _ => (count / 1e3, "k"),
    };
    let decimals = match scaled {
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$} {unit}")
}

impl ModelArgs {
    /// Puts the flags that were given over a recipe's network.
    fn apply(&self, model: &mut burn_octresnet::train::ModelRecipe) {
        model.arch = self.arch.unwrap_or(model.arch);
        model.alpha = self.alpha.unwrap_or(model.alpha);
        model.stem = self.stem.unwrap_or(model.stem);
        model.width = self.width.unwrap_or(model.width);
    }
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
    }
}
