use std::process::ExitCode;

use burn_image_train::text::{percent, short_count, thousands};
use burn_octresnet::model::{Alpha, Arch, OctNetConfig, Stride};
use clap::Args;
use serde::Serialize;

use crate::{
    cli::NetworkArgs,
    network::stride_words,
    output::{print, print_json},
    table::Table,
};

/// Says what a network costs, beside the same network without octave convolution.
///
/// Counts multiply-adds of convolutions and classifier for one image. Parameters do not depend
/// on alpha.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet info --arch oct-resnet-50 --alpha 0.5
  octresnet info --arch oct-resnet-26 --alpha 0.5,0.25,0.125 --size 64 --stem small --json

--json prints {\"arch\",\"alpha\",\"stride\",\"size\",\"params\",\"macs\",\"vanilla\":{\"params\",\"macs\"}}.")]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info {
    arch: Arch,
    alpha: Alpha,
    stride: Stride,
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
    let config = arguments.network.config();
    let side = arguments.network.size();
    let size = [side as usize; 2];
    let (cost, vanilla) = (config.cost(size)?, config.vanilla().cost(size)?);
    let info = Info {
        arch: config.arch,
        alpha: config.alpha,
        stride: config.stride,
        size: side,
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

fn table(info: &Info, config: &OctNetConfig) -> String {
    let Info {
        arch, alpha, size, ..
    } = info;
    let (classes, stride) = (config.num_classes, stride_words(config.stride));
    let mut table = Table::new(&["", "octave", "vanilla", "octave / vanilla"]);
    let mut row = |name: &str, ours: u64, vanillas: u64, text: fn(u64) -> String| {
        let share = percent(ours as f64 / vanillas as f64);
        table.row([name.into(), text(ours), text(vanillas), share]);
    };
    let vanilla = &info.vanilla;
    row("parameters", info.params, vanilla.params, thousands);
    row("multiply-adds", info.macs, vanilla.macs, short_count);
    let table = table.to_string();
    format!(
        "{arch}, alpha {alpha}{stride}, {size}x{size} pixels, {classes} classes\n{}",
        table.trim_end()
    )
}
