//! `bench steps`: where the time of inference goes.

use burn::tensor::{Distribution, Tensor};
use burn_octconv::ops::{StepTime, peak_macs_per_second, timed};
use burn_octresnet::model::Alpha;
use clap::Args;
use serde::Serialize;

use super::{NetworkArgs, share, timing::Times};
use crate::{
    output::{print, print_json},
    table::Table,
};

/// Measures every step of a network on the CPU engine, in inference.
///
/// A step is what runs together, such as the two output groups of an octave layer. Linear layers are
/// Burn's and no steps. The efficiency of a step is its share of the peak: of the multiply-adds that all
/// threads do in registers alone, measured here.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench steps
  octresnet bench steps --alpha 0 --batch 8 --top 10

`3x3x64 + up 3x3x64 -> 64, 56x56` adds a 3x3 convolution of 64 channels to another one of 64, which is
upsampled, and gives 64 channels of 56x56 pixels; ` | ` stands between operations that run together.
--json prints {\"batch\",\"size\",\"alpha\",\"peak_gflops\",\"steps\":[{\"step\",\"name\",\"macs\",\"median_ms\",\"gflops\"}]}
with all steps in their order; a multiply-add is two FLOPs.")]
pub(super) struct StepsArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Share of low-frequency channels, 0 to 1
    #[arg(long, value_name = "A", default_value_t = 0.5, value_parser = share)]
    alpha: f64,
    /// Images at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Rounds that count, after two that do not
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Show so many of the steps that take longest, in the order in which they run
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Print JSON
    #[arg(long, conflicts_with = "top")]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    batch: u32,
    size: usize,
    alpha: f64,
    peak_gflops: f64,
    steps: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    step: usize,
    name: String,
    macs: u64,
    median_ms: f64,
    gflops: f64,
}

impl Row {
    fn new(step: usize, timed: StepTime, median_ms: f64) -> Self {
        let StepTime { name, macs, .. } = timed;
        Self {
            step,
            name,
            macs,
            median_ms,
            gflops: gflops(macs, median_ms),
        }
    }
}

fn gflops(macs: u64, ms: f64) -> f64 {
    2.0 * macs as f64 / ms / 1e6
}

pub(super) fn run(arguments: &StepsArgs) -> anyhow::Result<()> {
    let report = measure(arguments)?;
    match arguments.json {
        true => print_json(&report),
        false => print(&report.table(&arguments.network, arguments.top)),
    }
}

fn measure(arguments: &StepsArgs) -> anyhow::Result<Report> {
    let StepsArgs {
        network,
        alpha,
        batch,
        runs,
        ..
    } = arguments;
    if !network.shares.is_empty() {
        anyhow::bail!(
            "the engine's steps are those of two frequencies: leave out --shares, and give --alpha"
        );
    }
    network.macs(Alpha::Uniform(*alpha))?;
    let device = burn::tensor::Device::flex();
    let model = network.config(Alpha::Uniform(*alpha)).try_init(&device)?;
    let size = network.size();
    let shape = [*batch as usize, 3, size, size];
    let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let forward = || timed(|| model.forward(images.clone())).1;
    forward();
    let steps = forward();
    let mut times = vec![Times::default(); steps.len()];
    for _ in 0..*runs {
        for (times, step) in times.iter_mut().zip(forward()) {
            times.push(step.time);
        }
    }
    let rows = steps.into_iter().zip(&times).enumerate();
    let rows = rows.map(|(i, (step, times))| Row::new(i + 1, step, times.summary().median_ms));
    Ok(Report {
        batch: *batch,
        size,
        alpha: *alpha,
        peak_gflops: 2e-9 * peak_macs_per_second(),
        steps: rows.collect(),
    })
}

impl Report {
    fn table(&self, network: &NetworkArgs, top: Option<usize>) -> String {
        let Self {
            batch, size, alpha, ..
        } = self;
        let ms: f64 = self.steps.iter().map(|row| row.median_ms).sum();
        let macs = self.steps.iter().map(|row| row.macs).sum();
        let mut longest: Vec<&Row> = self.steps.iter().collect();
        longest.sort_by(|a, b| b.median_ms.total_cmp(&a.median_ms));
        longest.truncate(top.unwrap_or(self.steps.len()));
        longest.sort_by_key(|row| row.step);
        let mut table = Table::new(&["step", "ms", "time", "GFLOP/s", "of peak"]);
        let mut row = |name: String, median_ms: f64, gflops: f64| {
            table.row([
                name,
                format!("{median_ms:.3}"),
                format!("{:.1} %", 100.0 * median_ms / ms),
                format!("{gflops:.0}"),
                format!("{:.0} %", 100.0 * gflops / self.peak_gflops),
            ]);
        };
        for step in longest {
            let name = format!("{:3}  {}", step.step, step.name);
            row(name, step.median_ms, step.gflops);
        }
        row(format!("all {}", self.steps.len()), ms, gflops(macs, ms));
        format!(
            "Inference of {}, alpha {alpha}, {size}x{size} pixels, batch {batch}; peak {:.0} GFLOP/s\n\
             {table}",
            network.arch, self.peak_gflops
        )
    }
}
