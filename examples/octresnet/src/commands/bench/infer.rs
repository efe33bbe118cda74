use std::path::PathBuf;

use burn::tensor::{Device, Distribution, Tensor};
use clap::Args;

use super::{
    NetworkArgs, RunArgs,
    sides::{Side, sides},
    timing::{Contender, timed},
};

/// Measures inference of a network: images in, logits out.
///
/// The network is called as a user's own module is, layer by layer. The rows of the engine are those
/// layers on it, the others are the same layers without it.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench infer --alpha 0,0.25,0.5 --batch 1,8
  octresnet bench infer --arch oct-resnet-26 --size 64 --rows engine --runs 100 --json

speed-up is the median of burn-conv2d over that of the row, theory the same for multiply-adds.
--json prints {\"device\",\"isa\",\"batch\",\"size\",\"rows\":[{\"name\",\"alpha\",\"median_ms\",\"min_ms\",\"max_ms\"}]}.")]
pub(super) struct InferArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Write the network with random weights, of one alpha, for other programs to compute it
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

pub(super) fn run(arguments: &InferArgs) -> anyhow::Result<()> {
    let InferArgs { network, run, .. } = arguments;
    let (device, name) = run.open()?;
    if let Some(path) = &arguments.weights {
        let [alpha] = network.alphas(run)[..] else {
            anyhow::bail!(
                "--weights is for one network: give --alpha one share and leave out --shares"
            );
        };
        let config = network.config(alpha);
        config
            .try_init(&device)?
            .save_weights(&config, path, false)?;
    }
    let sides = sides(&run.rows, &network.alphas(run), &device)?;
    let title = format!("Inference of {}", network.arch);
    let contender = |side, batch| contender(side, network, batch, &device);
    network.compare(run, &sides, &name, &title, contender, |_, _, _| Ok(()))
}

fn contender<'a>(
    side: Side,
    network: &NetworkArgs,
    batch: u32,
    device: &'a Device,
) -> anyhow::Result<Contender<'a, 1>> {
    let model = network.config(side.alpha).try_init(device)?;
    let size = network.size();
    let images = Tensor::<4>::random(
        [batch as usize, 3, size, size],
        Distribution::Normal(0.0, 1.0),
        device,
    );
    Ok(Box::new(move || {
        let images = images.clone();
        let (_, time) = timed(device, || side.form.run(|| model.forward(images)))?;
        Ok([time])
    }))
}
