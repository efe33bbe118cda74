//! What the command does: a file for each subcommand, with its arguments.

mod bench;
mod completions;
mod convert;
mod evaluate;
mod export;
mod info;
mod inspect;
mod list;
mod man;
mod plot;
mod predict;
mod prepare;
mod profile;
mod recipes;
mod report;
mod robustness;
mod serve;
mod train;

use std::process::ExitCode;

use clap::Subcommand;

use crate::{cli::Cli, network::ModelRecipe};

/// A trained network of the family.
type TrainedModel = burn_image_train::TrainedModel<ModelRecipe>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Train(train::TrainArgs),
    Evaluate(evaluate::EvaluateArgs),
    Predict(predict::PredictArgs),
    Info(info::InfoArgs),
    List(list::ListArgs),
    Recipes(recipes::RecipesArgs),
    Prepare(prepare::PrepareArgs),
    Profile(profile::ProfileArgs),
    Plot(plot::PlotArgs),
    Report(report::ReportArgs),
    Inspect(inspect::InspectArgs),
    Convert(convert::ConvertArgs),
    Export(export::ExportArgs),
    Bench(bench::BenchArgs),
    Serve(serve::ServeArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Train(arguments) => train::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Predict(arguments) => predict::run(arguments),
        Command::Info(arguments) => info::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Recipes(arguments) => recipes::run(arguments),
        Command::Prepare(arguments) => prepare::run(arguments),
        Command::Profile(arguments) => profile::run(arguments),
        Command::Plot(arguments) => plot::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => man::run(arguments),
    }
}
