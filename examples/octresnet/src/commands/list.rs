use std::{collections::BTreeMap, process::ExitCode};

use burn_image_train::text::{short_count, thousands};
use burn_octresnet::model::{Alpha, Arch, ModelError, OctNetConfig};
use clap::Args;
use serde::Serialize;

use crate::{
    output::{print, print_json},
    table::Table,
};

/// Shares of low-frequency channels to list.
const ALPHAS: [&str; 4] = ["0.125", "0.25", "0.5", "0.75"];

/// Lists the networks with what they cost.
///
/// Counted for the images and classes that a network was designed for: 224x224 pixels and 1000
/// classes, or 32x32 and 10. Parameters do not depend on alpha.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet list
  octresnet list --json

--json prints [{\"name\",\"params\",\"macs\",\"macs_by_alpha\":{\"0.25\":...}}], where macs are those of the
vanilla network, alpha 0, and macs_by_alpha those with octave convolution, for the alphas at which
the network exists: the groups of a ResNeXt do not divide every share of its channels.")]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: Arch,
    params: u64,
    macs: u64,
    macs_by_alpha: BTreeMap<&'static str, u64>,
}

pub(super) fn run(arguments: ListArgs) -> anyhow::Result<ExitCode> {
    let rows = Arch::ALL.into_iter().map(row);
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    match arguments.json {
        true => print_json(&rows)?,
        false => print(table(&rows).to_string().trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(name: Arch) -> Result<Row, ModelError> {
    let mut config = OctNetConfig::new(name, name.num_classes());
    let vanilla = config.vanilla().cost(name.image_size())?;
    let mut macs_by_alpha = BTreeMap::new();
    for text in ALPHAS {
        config.alpha = Alpha::Uniform(text.parse().expect("the alphas are numbers"));
        if let Ok(cost) = config.cost(name.image_size()) {
            macs_by_alpha.insert(text, cost.macs.total());
        }
    }
    Ok(Row {
        name,
        params: vanilla.params,
        macs: vanilla.macs.total(),
        macs_by_alpha,
    })
}

fn table(rows: &[Row]) -> Table {
    let alphas = ALPHAS.map(|alpha| format!("α={alpha}"));
    let mut header = vec!["network", "parameters", "vanilla"];
    header.extend(alphas.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for row in rows {
        let by_alpha = ALPHAS.iter().map(|alpha| row.macs_by_alpha.get(alpha));
        let known = [
            row.name.to_string(),
            thousands(row.params),
            short_count(row.macs),
        ];
        let unknown = by_alpha.map(|macs| macs.map_or("–".into(), |&macs| short_count(macs)));
        table.row(known.into_iter().chain(unknown));
    }
    table
}
