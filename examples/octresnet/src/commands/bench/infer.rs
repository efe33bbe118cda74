use burn::tensor::{Device, Distribution, Tensor};
use clap::Args;

use super::{
    NetworkArgs, RunArgs,
    sides::{Form, Side, sides},
    timing::{Contender, timed},
};

/// Measures inference of a network: images in, logits out.
///
/// The engine's rows are the network in its inference form, with norms folded and weights packed;
/// module is its layers as they are called one by one, on the engine too; the others are the same
/// layers without it.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench infer --alpha 0,0.25,0.5 --batch 1,8
  octresnet bench infer --arch oct-resnet-26 --size 64 --rows engine --runs 100 --json

speed-up is the median of burn-conv2d over that of the row, theory the same for multiply-adds.
--json prints {\"device\",\"batch\",\"size\",\"rows\":[{\"name\",\"alpha\",\"median_ms\",\"min_ms\",\"max_ms\"}]}.")]
pub(super) struct InferArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

const FORMS: [Form; 4] = [Form::BurnConv2d, Form::Composed, Form::Module, Form::Engine];

pub(super) fn run(InferArgs { network, run }: &InferArgs) -> anyhow::Result<()> {
    let (device, name) = run.open()?;
    let sides = sides(&FORMS, &run.rows, &run.alpha, &device)?;
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
    let forward: Box<dyn Fn(Tensor<4>) -> Tensor<2> + Sync> = match side.form {
        Form::Engine => {
            let model = model.into_inference();
            if let Some(refusal) = model.refusal() {
                log::warn!("{} runs layer by layer: {refusal}", network.arch);
            }
            Box::new(move |images| model.forward(images))
        }
        Form::BurnConv2d | Form::Composed | Form::Module => {
            Box::new(move |images| model.forward(images))
        }
    };
    Ok(Box::new(move || {
        let images = images.clone();
        let (_, time) = timed(device, || side.form.run(|| forward(images)))?;
        Ok([time])
    }))
}
