use burn::{
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Distribution, Tensor},
};
use burn_octconv::{ChannelSplit, OctConv2dConfig, OctFeatures};
use burn_octresnet::model::Alpha;
use clap::Args;

use super::{
    RunArgs,
    kind::{self, Kind, Layers},
    report::{Comparison, Row},
    sides::{self, Form, Side, sides},
    timing::{Contender, interleave, timed},
};

/// Measures one convolution, forward and backward.
///
/// Backward starts from a gradient of ones at every output and gives those of inputs and kernels.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench layer --channels 64,64 --size 56 --batch 8
  octresnet bench layer --channels 1024,256 --kernel 1 --size 14 --alpha 0,0.125,0.25,0.5
  octresnet bench layer --kind conv1d --size 4096 --kernel 9 --shares 0.5,0.5 --shares 0.5,0.25,0.25
  octresnet bench layer --kind transpose2d --stride 2

speed-up is the median of burn-conv2d over that of the row, theory the same for multiply-adds.
--json prints {\"device\",\"isa\",\"batch\",\"size\",\"rows\":[{\"name\",\"alpha\",\"pass\",\"median_ms\",\"min_ms\",\"max_ms\",\"macs\"}]};
pass is forward or backward, macs the multiply-adds of the batch, which go twice into backward.
With --kind or --shares there is a row for Burn's own layer (burn), one for that layer as the device
computes it (ours, shares 1; where it has an engine), and one for each of --shares (or of --alpha);
--json prints {\"device\",\"isa\",\"kind\",\"batch\",\"size\",\"rows\":[{\"name\",\"shares\",\"pass\",\"median_ms\",\"min_ms\",\"max_ms\",\"macs\"}]}.")]
pub(super) struct LayerArgs {
    /// Channels in and out, of both frequencies together
    #[arg(long, value_name = "IN,OUT", default_value = "128,128", value_parser = channels)]
    channels: [usize; 2],
    /// Height and width of the kernel
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=255))]
    kernel: u32,
    /// 1 or 2; 2 pools, except where alpha is 0
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    stride: u32,
    /// Height and width of the input's full resolution in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 28, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    size: u32,
    /// Layers of another rank, or transposed [default: conv2d in two frequencies]
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Shares of channels by frequency, from the full resolution down; again for another row
    #[arg(long, value_name = "A,B[,C..]", conflicts_with = "alpha", value_parser = shares)]
    shares: Vec<Shares>,
    /// Frames of the videos of conv3d and transpose3d
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    frames: u32,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(arguments: &LayerArgs) -> anyhow::Result<()> {
    let run = &arguments.run;
    let (device, name) = run.open()?;
    if arguments.kind.is_some() || !arguments.shares.is_empty() {
        if !run.rows.is_empty() {
            anyhow::bail!(
                "--rows does not go with --kind and --shares, which have rows of their own"
            );
        }
        let device = device.autodiff();
        let layers = arguments.layers();
        return kind::run(
            &layers,
            &run.batch,
            (&device, &name),
            run.timing(),
            run.json,
        );
    }
    let alphas: Vec<Alpha> = run.alpha.iter().copied().map(Alpha::from).collect();
    let sides = sides(&run.rows, &alphas, &device)?;
    let device = device.autodiff();
    let vanilla = arguments.macs(0.0)?;
    for &batch in &run.batch {
        let mut contenders = Vec::new();
        for &side in &sides {
            contenders.push(contender(side, arguments, batch, &device)?);
        }
        let times = interleave(&mut contenders, run.timing())?;
        let mut rows = Vec::new();
        for (part, pass) in ["forward", "backward"].into_iter().enumerate() {
            for (&side, times) in sides.iter().zip(&times) {
                let macs = arguments.macs(share(side))?;
                let mut row = Row::new(side, &times[part], [macs, vanilla]);
                row.pass = Some(pass);
                row.macs = Some(macs * u64::from(batch));
                rows.push(row);
            }
        }
        let [input, output] = arguments.channels;
        let LayerArgs { kernel, stride, .. } = arguments;
        let comparison = Comparison {
            isa: sides::instruction_set(&sides),
            device: name.clone(),
            batch,
            size: arguments.size as usize,
            rows,
            title: format!("{input} to {output} channels, {kernel}x{kernel}, stride {stride}"),
        };
        comparison.print(run.json)?;
    }
    Ok(())
}

/// Shares of channels by frequency.
#[derive(Debug, Clone)]
struct Shares(Vec<f64>);

impl LayerArgs {
    /// The layers of `--kind` and `--shares`.
    fn layers(&self) -> Layers {
        let of_alpha = |&alpha: &f64| match alpha {
            0.0 => vec![1.0],
            alpha => vec![1.0 - alpha, alpha],
        };
        let shares = match &self.shares[..] {
            [] => self.run.alpha.iter().map(of_alpha).collect(),
            given => given.iter().map(|shares| shares.0.clone()).collect(),
        };
        Layers {
            kind: self.kind.unwrap_or(Kind::Conv2d),
            shares,
            channels: self.channels,
            kernel: self.kernel as usize,
            stride: self.stride as usize,
            size: self.size as usize,
            frames: self.frames as usize,
        }
    }

    fn padding(&self) -> PaddingConfig2d {
        // `Same` would pad a strided convolution at the end only.
        let (begin, end) = ((self.kernel as usize - 1) / 2, self.kernel as usize / 2);
        PaddingConfig2d::Explicit(begin, begin, end, end)
    }

    fn octave(&self, alpha: f64) -> OctConv2dConfig {
        OctConv2dConfig::new(self.channels, [self.kernel as usize; 2])
            .with_stride([self.stride as usize; 2])
            .with_padding(self.padding())
            .with_bias(false)
            .with_alpha(alpha)
            .with_strided(alpha == 0.0)
    }

    fn vanilla(&self, device: &Device) -> Conv2d {
        Conv2dConfig::new(self.channels, [self.kernel as usize; 2])
            .with_stride([self.stride as usize; 2])
            .with_padding(self.padding())
            .with_bias(false)
            .init(device)
    }

    /// Multiply–adds of an image.
    fn macs(&self, alpha: f64) -> anyhow::Result<u64> {
        let cost = self.octave(alpha).cost([self.size as usize; 2])?;
        Ok(cost.macs.total())
    }

    /// An input that gradients go back to.
    fn input(&self, alpha: f64, batch: u32, device: &Device) -> anyhow::Result<OctFeatures> {
        let split = ChannelSplit::new(self.channels[0], alpha)?;
        let full = self.size as usize;
        let group = |channels: usize, size: usize| {
            let shape = [batch as usize, channels, size, size];
            let normal = Distribution::Normal(0.0, 1.0);
            (channels > 0).then(|| Tensor::<4>::random(shape, normal, device).require_grad())
        };
        let (high, low) = (group(split.high, full), group(split.low, full.div_ceil(2)));
        Ok(OctFeatures::try_new(high, low, [full; 2])?)
    }
}

/// The share of a side, which here is one for input and output.
fn share(side: Side) -> f64 {
    match side.alpha {
        Alpha::Uniform(alpha) => alpha,
        other => unreachable!("a layer has one alpha, not {other}"),
    }
}

fn contender<'a>(
    side: Side,
    arguments: &LayerArgs,
    batch: u32,
    device: &'a Device,
) -> anyhow::Result<Contender<'a, 2>> {
    let layer: Box<dyn Fn(OctFeatures) -> OctFeatures + Sync> = match side.form {
        Form::BurnConv2d => {
            let layer = arguments.vanilla(device);
            Box::new(move |input| layer.forward(input.into_high()).into())
        }
        Form::Composed | Form::Engine => {
            let layer = arguments.octave(share(side)).try_init(device)?;
            Box::new(move |input| layer.forward(input))
        }
    };
    let input = arguments.input(share(side), batch, device)?;
    Ok(Box::new(move || {
        let features = input.clone();
        let (output, forward) = timed(device, || side.form.run(|| layer(features)))?;
        let (high, low) = output.into_parts();
        let sums = [high, low].into_iter().flatten().map(|group| group.sum());
        let loss = sums.reduce(|a, b| a + b);
        let loss = loss.ok_or_else(|| anyhow::anyhow!("the layer has no output"))?;
        device.sync()?;
        let (_, backward) = timed(device, || loss.backward())?;
        Ok([forward, backward])
    }))
}

fn channels(text: &str) -> Result<[usize; 2], String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[input, output]) if input > 0 && output > 0 => Ok([input, output]),
        _ => Err("use two numbers, in and out, such as 64,128".into()),
    }
}

fn shares(text: &str) -> Result<Shares, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    let numbers = numbers.map_err(|_| "use numbers whose sum is 1, such as 0.5,0.25,0.25")?;
    burn_octconv::split_channels(1, &numbers).map_err(|e| e.to_string())?;
    Ok(Shares(numbers))
}
