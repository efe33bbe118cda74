//! `bench`: what the engine brings and what octave convolution brings, side by side in one run, and
//! how fast images come.

mod data;
mod infer;
mod kind;
mod layer;
mod memory;
mod report;
mod sides;
#[cfg(feature = "flex")]
mod steps;
mod timing;
mod train;

use std::process::ExitCode;

use burn::tensor::Device;
use burn_image_train::DeviceName;
use burn_octresnet::model::{Alpha, Arch, OctNetConfig, Stride};
use clap::{Args, Subcommand};

use report::{Comparison, Row};
use sides::{Form, Side};
use timing::{Contender, Timing, Until, interleave};

/// Measures networks and layers on a device, and how fast images come.
///
/// Everything that is compared runs in turns, one run of each per round, so a machine that changes
/// its speed changes it for all. Every time includes waiting for the device.
///
/// Rows: burn-conv2d is the vanilla network (or layer) of Burn's own Conv2d; composed is the octave
/// one out of Burn's operations; engine is the octave one by this project's engine, on devices that
/// have one (flex), for alpha 0 too.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench infer                                 Oct-ResNet-50, one image
  octresnet bench infer --alpha 0,0.25,0.5 --batch 1,8
  octresnet bench train --batch 8 --runs 5
  octresnet bench layer --channels 256,256 --size 28
  octresnet bench steps --top 20                        where the time of inference goes
  octresnet bench infer --device cuda --batch 64 --json
  octresnet bench data --data photos --workers 2

On a CPU, RAYON_NUM_THREADS sets the number of threads.")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Infer(infer::InferArgs),
    Train(train::TrainArgs),
    Layer(layer::LayerArgs),
    #[cfg(feature = "flex")]
    Steps(steps::StepsArgs),
    Data(data::DataArgs),
}

pub(super) fn run(arguments: BenchArgs) -> anyhow::Result<ExitCode> {
    match arguments.command {
        BenchCommand::Infer(arguments) => infer::run(&arguments)?,
        BenchCommand::Train(arguments) => train::run(&arguments)?,
        BenchCommand::Layer(arguments) => layer::run(&arguments)?,
        #[cfg(feature = "flex")]
        BenchCommand::Steps(arguments) => steps::run(&arguments)?,
        BenchCommand::Data(arguments) => data::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is compared where, and for how long.
#[derive(Debug, Args)]
struct RunArgs {
    /// Where to compute: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Shares of low-frequency channels to compare, 0 to 1
    #[arg(long, value_name = "A[,B..]", value_delimiter = ',', default_value = "0,0.5", value_parser = share)]
    alpha: Vec<f64>,
    /// Images at a time; each number is a comparison of its own
    #[arg(long, value_name = "N[,M..]", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Vec<u32>,
    /// What to measure [default: all that the device has]
    #[arg(long, value_name = "NAME[,..]", value_delimiter = ',')]
    rows: Vec<Form>,
    /// Rounds before those that count
    #[arg(long, value_name = "N", default_value_t = 2)]
    warmup: u32,
    /// Rounds that count
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Time for the rounds that count, of which there are at least three
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// What the engine computes with [default: the fastest that this processor has]
    #[arg(long, value_name = "SET")]
    isa: Option<String>,
    /// Print JSON, an object on a line for each batch
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    fn timing(&self) -> Timing {
        Timing {
            warmup: self.warmup as usize,
            until: match self.runs {
                Some(rounds) => Until::Rounds(rounds as usize),
                None => Until::Seconds(self.seconds),
            },
        }
    }

    /// The device, and its name.
    fn open(&self) -> anyhow::Result<(Device, String)> {
        let name = self.device.resolved()?;
        #[cfg(feature = "flex")]
        if let Some(isa) = &self.isa {
            burn_octconv::ops::choose_instruction_set(isa)?;
        }
        Ok((name.open()?, name.to_string()))
    }
}

/// The network.
#[derive(Debug, Args)]
struct NetworkArgs {
    /// Network, such as oct-resnet-26 or oct-mobilenet-v1
    #[arg(long, value_name = "NAME", default_value_t = Arch::OctResNet50)]
    arch: Arch,
    /// Factor on all channel counts
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    width: f64,
    /// A row for shares at the resolutions 1, 1/2, 1/4 and so on, after those of --alpha; again for another
    #[arg(long, value_name = "SHARES", value_parser = Alpha::parse_shares)]
    shares: Vec<Alpha>,
    /// How the stages take stride 2, in every row: pooled, strided, or auto, which is strided at alpha 0
    #[arg(long, value_name = "auto|pooled|strided", default_value_t)]
    stride: Stride,
    /// Height and width of the images in pixels [default: what the network is made for]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    size: Option<u32>,
}

impl NetworkArgs {
    fn config(&self, alpha: Alpha) -> OctNetConfig {
        OctNetConfig {
            alpha,
            stride: self.stride,
            width: self.width,
            ..OctNetConfig::new(self.arch, self.arch.num_classes())
        }
    }

    /// The networks to compare.
    fn alphas(&self, run: &RunArgs) -> Vec<Alpha> {
        let alphas = run.alpha.iter().copied().map(Alpha::from);
        alphas.chain(self.shares.iter().copied()).collect()
    }

    /// Height and width of the images.
    fn size(&self) -> usize {
        self.size
            .map_or(self.arch.image_size()[0], |size| size as usize)
    }

    /// Multiply–adds of an image, which also tells whether the network can be built.
    fn macs(&self, alpha: Alpha) -> anyhow::Result<u64> {
        Ok(self.config(alpha).cost([self.size(); 2])?.macs.total())
    }

    /// Measures all sides in turns and prints them, batch size by batch size; `more` adds to a row
    /// what the times do not tell.
    fn compare<'a>(
        &self,
        run: &RunArgs,
        sides: &[Side],
        device: &str,
        title: &str,
        contender: impl Fn(Side, u32) -> anyhow::Result<Contender<'a, 1>>,
        more: impl Fn(&mut Row, Side, u32) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let vanilla = self.macs(Alpha::Uniform(0.0))?;
        for &batch in &run.batch {
            let mut contenders = Vec::new();
            for &side in sides {
                self.macs(side.alpha)?;
                contenders.push(contender(side, batch)?);
            }
            let times = interleave(&mut contenders, run.timing())?;
            // Free what the networks hold before `more` needs it.
            drop(contenders);
            let rows = sides.iter().zip(&times).map(|(&side, [times])| {
                let mut row = Row::new(side, times, [self.macs(side.alpha)?, vanilla]);
                more(&mut row, side, batch)?;
                Ok(row)
            });
            let comparison = Comparison {
                isa: sides::instruction_set(sides),
                device: device.to_string(),
                batch,
                size: self.size(),
                rows: rows.collect::<anyhow::Result<_>>()?,
                title: title.to_string(),
            };
            comparison.print(run.json)?;
        }
        Ok(())
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "use numbers from 0 to 1, such as 0,0.25,0.5".into())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "use a number of seconds from 0.001 to 86400".into())
}
