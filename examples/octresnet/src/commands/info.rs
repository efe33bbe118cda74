use std::process::ExitCode;

use burn_octresnet::{
    model::{Alpha, Arch, OctResNetConfig, Stem},
    train::ModelRecipe,
};
use clap::Args;
use serde::Serialize;

use super::{percent, print, print_json, short_count, thousands};
use crate::cli::ModelArgs;

/// Says what a network costs, beside the same network without octave convolution.
///
/// Counts multiply-adds of convolutions and classifier for one image. Parameters do not depend
/// on alpha.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet info --arch oct-resnet-50 --alpha 0.5
  octresnet info --arch oct-resnet-26 --alpha 0.5,0.25,0.125 --size 64 --stem small --json

--json prints {\"arch\",\"alpha\",\"size\",\"params\",\"macs\",\"vanilla\":{\"params\",\"macs\"}}.")]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Height and width of the image in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    size: u32,
    /// Classes to tell apart
    #[arg(long, value_name = "N", default_value_t = 1000)]
    classes: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

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
