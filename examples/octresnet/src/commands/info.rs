use std::process::ExitCode;

use burn_octresnet::{
    model::{Alpha, Arch, OctResNetConfig, Stem},
    train::ModelRecipe,
};
use serde::Serialize;

use super::{percent, print, print_json, short_count, thousands};
use crate::cli::InfoArgs;

#[derive(Serialize)]
struct Info {
    arch: Arch,
    alpha: Alpha,
    size: u32,
    params: u64,
    macs: u64,
    vanilla: Cost,
}

#[derive(Serialize)]
struct Cost {
    params: u64,
    macs: u64,
}

pub(super) fn run(arguments: InfoArgs) -> anyhow::Result<ExitCode> {
    // The paper's network, not the small one of the default run.
    let mut recipe = ModelRecipe {
        arch: Arch::OctResNet50,
        alpha: Alpha::Uniform(0.5),
        stem: Stem::Imagenet,
        width: 1.0,
        ..Default::default()
    };
    arguments.model.apply(&mut recipe);
    let config = recipe.config(arguments.classes);
    let size = [arguments.size as usize; 2];
    let (cost, vanilla) = (config.cost(size)?, config.vanilla().cost(size)?);
    let info = Info {
        arch: config.arch,
        alpha: config.alpha,
        size: arguments.size,
        params: cost.params,
        macs: cost.macs.total(),
        vanilla: Cost {
            params: vanilla.params,
            macs: vanilla.macs.total(),
        },
    };
    match arguments.json {
        true => print_json(&info)?,
        false => print(&table(&info, &config))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(info: &Info, config: &OctResNetConfig) -> String {
    let Info {
        arch, alpha, size, ..
    } = info;
    let (params, vanilla_params) = (thousands(info.params), thousands(info.vanilla.params));
    let (macs, vanilla_macs) = (short_count(info.macs), short_count(info.vanilla.macs));
    let share = percent(info.macs as f64 / info.vanilla.macs as f64);
    let classes = config.num_classes;
    format!(
        "{arch}, alpha {alpha}, {size}x{size} pixels, {classes} classes\n\
         {:15}{:>14}{:>14}\n\
         {:15}{params:>14}{vanilla_params:>14}\n\
         {:15}{macs:>14}{vanilla_macs:>14}   {share} of vanilla",
        "", "octave", "vanilla", "parameters", "multiply-adds",
    )
}
