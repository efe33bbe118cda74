use std::process::ExitCode;

use anyhow::Context;
use burn_image_folder::shown;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use serde::Serialize;

use crate::{
    network::Recipe,
    output::{print, print_json},
    recipes,
    table::Table,
};

/// Lists the recipes that `train --config NAME` knows without a file.
///
/// Each is a complete run: network, images, optimizer, schedule. Flags override it, and `show`
/// prints one as a start for your own.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet recipes
  octresnet recipes show imagenet-oct-resnet-50
  octresnet train --config imagenet-oct-resnet-50 --data my/imagenet

--json prints [{\"name\",\"about\",\"expected\",\"arch\",\"alpha\",\"data\",\"epochs\"}].")]
pub(crate) struct RecipesArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints a recipe as JSON
    Show {
        /// Name of the recipe
        #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(recipes::names()), hide_possible_values = true)]
        name: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: String,
    expected: String,
    arch: String,
    alpha: String,
    data: String,
    epochs: usize,
}

pub(super) fn run(arguments: RecipesArgs) -> anyhow::Result<ExitCode> {
    if let Some(Action::Show { name }) = arguments.action {
        let text = recipes::text(&name).context("the parser knows the names")?;
        print(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = recipes::names().map(row).collect::<Result<Vec<_>, _>>()?;
    match arguments.json {
        true => print_json(&rows)?,
        false => print(table(&rows).to_string().trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(name: &'static str) -> anyhow::Result<Row> {
    let Recipe {
        about,
        expected,
        model,
        data,
        epochs,
        ..
    } = recipes::load(name.as_ref())?;
    Ok(Row {
        name,
        about,
        expected,
        arch: model.arch.to_string(),
        alpha: model.alpha.to_string(),
        data: shown(&data.path),
        epochs,
    })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["recipe", "network", "α", "images", "epochs"]);
    for row in rows {
        table.row([
            row.name.to_string(),
            row.arch.clone(),
            row.alpha.clone(),
            row.data.clone(),
            row.epochs.to_string(),
        ]);
    }
    table
}
