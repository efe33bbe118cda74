use burn::{
    optim::GradientsParams,
    tensor::{Device, Distribution, Int, Tensor},
};
use burn_image_train::cross_entropy;
use clap::Args;

use super::{
    NetworkArgs, RunArgs, memory,
    report::Row,
    sides::{Side, sides},
    timing::{Contender, timed},
};

/// Measures training steps of a network: forward, loss, backward.
///
/// The optimizer's update, which does not depend on alpha, is not part of it.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench train --batch 8 --rows engine
  octresnet bench train --arch oct-resnet-26 --width 0.5 --size 64 --batch 16

Peak memory is that of a process of its own that does two steps and nothing else, weights and program
included; on Linux and for processors only. --no-memory leaves it out.
--json prints {\"device\",\"isa\",\"batch\",\"size\",\"rows\":[{\"name\",\"alpha\",\"median_ms\",\"min_ms\",\"max_ms\",\"peak_bytes\"}]};
peak_bytes is null where it was not measured.")]
pub(super) struct TrainArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Leave peak memory out
    #[arg(long)]
    no_memory: bool,
    /// Do two steps of the one row given and print the peak memory of this process
    #[arg(long, hide = true)]
    print_peak: bool,
}

pub(super) fn run(arguments: &TrainArgs) -> anyhow::Result<()> {
    let TrainArgs { network, run, .. } = arguments;
    let (device, name) = run.open()?;
    let sides = sides(&run.rows, &network.alphas(run), &device)?;
    let device = device.autodiff();
    if arguments.print_peak {
        // Of shares it is told by a row of its own, behind that of the one α that there has to be.
        let side = sides[sides.len() - 1];
        let mut step = contender(side, network, run.batch[0], &device)?;
        (0..2).try_for_each(|_| step().map(drop))?;
        let peak = memory::peak().ok_or_else(|| anyhow::anyhow!("no peak is known here"))?;
        return crate::output::print_json(&peak);
    }
    let with_memory = !arguments.no_memory && memory::is_known(&run.device.resolved()?);
    let title = format!("Training step of {}", network.arch);
    let contender = |side, batch| contender(side, network, batch, &device);
    let measure_memory = |row: &mut Row, side, batch| {
        row.peak_bytes = Some(match with_memory {
            true => Some(memory::of_training(side, network, run, batch)?),
            false => None,
        });
        Ok(())
    };
    network.compare(run, &sides, &name, &title, contender, measure_memory)
}

fn contender<'a>(
    side: Side,
    network: &NetworkArgs,
    batch: u32,
    device: &'a Device,
) -> anyhow::Result<Contender<'a, 1>> {
    let model = network.config(side.alpha).try_init(device)?;
    let size = network.size();
    let batch = batch as usize;
    let images = Tensor::<4>::random(
        [batch, 3, size, size],
        Distribution::Normal(0.0, 1.0),
        device,
    );
    let classes = network.arch.num_classes() as i64;
    let targets = Tensor::<1, Int>::arange(0..batch as i64, device) % classes;
    Ok(Box::new(move || {
        let (images, targets) = (images.clone(), targets.clone());
        let (_, time) = timed(device, || {
            side.form.run(|| {
                let logits = model.forward(images);
                let gradients = cross_entropy(logits, targets, 0.0).mean().backward();
                // What an optimizer is given, so that every gradient has to be there.
                GradientsParams::from_grads(gradients, &model)
            })
        })?;
        Ok([time])
    }))
}
