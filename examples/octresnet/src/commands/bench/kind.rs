//! Layers of any rank and any number of frequencies.

use std::time::Duration;

use burn::tensor::{Device, Distribution, Tensor};
use burn_octconv::{
    Cost, MultiOctConv2dConfig, OctConv1dConfig, OctConv3dConfig, OctConvError,
    OctConvTranspose1dConfig, OctConvTranspose2dConfig, OctConvTranspose3dConfig, OctMaps,
    ops::uses_engine,
};
use clap::ValueEnum;
use serde::Serialize;

use super::{
    sides::{Form, chosen_instruction_set},
    timing::{Contender, Summary, Timing, interleave, timed},
};
use crate::output::{print, print_json};

/// A kind of layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Signals
    Conv1d,
    /// Images
    Conv2d,
    /// Videos; lower frequencies keep the frames
    Conv3d,
    /// Transposed, over signals
    Transpose1d,
    /// Transposed, over images
    Transpose2d,
    /// Transposed, over videos
    Transpose3d,
}

/// What is measured.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) kind: Kind,
    /// Shares of channels by frequency, of each side to compare with the vanilla one.
    pub(super) shares: Vec<Vec<f64>>,
    pub(super) channels: [usize; 2],
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Pixels along each axis but that of the frames.
    pub(super) size: usize,
    pub(super) frames: usize,
}

/// One comparison: everything measured in turns, at one batch size.
#[derive(Debug, Serialize)]
struct Comparison {
    device: String,
    /// What the engine computes with, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    isa: Option<&'static str>,
    kind: Kind,
    batch: u32,
    size: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    shares: Vec<f64>,
    pass: &'static str,
    #[serde(flatten)]
    time: Summary,
    /// Multiply–adds of the batch.
    macs: u64,
    #[serde(skip)]
    rounds: usize,
}

/// A layer to measure: by Burn's operations alone or as the device computes it.
type Side = (&'static str, Form, Vec<f64>);

/// Burn's own vanilla layer, ours where an engine may compute it, and ours of the given shares.
fn sides(layers: &Layers, device: &Device) -> Vec<Side> {
    let mut sides: Vec<Side> = vec![("burn", Form::BurnConv2d, vec![1.0])];
    let ours = uses_engine(device).then(|| vec![1.0]);
    for shares in ours.into_iter().chain(layers.shares.iter().cloned()) {
        let side = ("ours", Form::Engine, shares);
        // Without an engine, ours of one frequency is Burn's.
        if !sides.contains(&side) && (uses_engine(device) || side.2 != [1.0]) {
            sides.push(side);
        }
    }
    sides
}

/// Compares the layers with Burn's own vanilla one.
pub(super) fn run(
    layers: &Layers,
    batches: &[u32],
    (device, name): (&Device, &str),
    timing: Timing,
    json: bool,
) -> anyhow::Result<()> {
    let sides = sides(layers, device);
    for &batch in batches {
        let built = sides
            .iter()
            .map(|(_, form, shares)| contender(layers, *form, shares, batch, device));
        let built = built.collect::<anyhow::Result<Vec<_>>>()?;
        let (mut contenders, macs): (Vec<_>, Vec<_>) = built.into_iter().unzip();
        let times = interleave(&mut contenders, timing)?;
        let row = |part: usize, pass: &'static str, side: usize| Row {
            name: sides[side].0,
            shares: sides[side].2.clone(),
            pass,
            time: times[side][part].summary(),
            macs: macs[side] * u64::from(batch),
            rounds: times[side][part].rounds(),
        };
        let passes = ["forward", "backward"].into_iter().enumerate();
        let rows = passes
            .flat_map(|(part, pass)| (0..sides.len()).map(move |side| (part, pass, side)))
            .map(|(part, pass, side)| row(part, pass, side));
        let comparison = Comparison {
            device: name.to_string(),
            isa: uses_engine(device).then(chosen_instruction_set).flatten(),
            kind: layers.kind,
            batch,
            size: layers.size,
            rows: rows.collect(),
        };
        match json {
            true => print_json(&comparison)?,
            false => print(&comparison.table(layers))?,
        }
    }
    Ok(())
}

impl Comparison {
    fn table(&self, layers: &Layers) -> String {
        let Layers {
            channels: [input, output],
            kernel,
            stride,
            ..
        } = layers;
        let kind = self.kind.to_possible_value();
        let isa = self.isa.map_or(String::new(), |isa| format!(" with {isa}"));
        let device = format!("{}{isa}", self.device);
        let rounds = self.rows.first().map_or(0, |row| row.rounds);
        let mut text = format!(
            "{}, {input} to {output} channels, kernel {kernel}, stride {stride}, {} pixels, batch {}, {}, \
             {rounds} rounds, ms\n{:<27} {:10} {:>10} {:>10} {:>10} {:>9} {:>7}",
            kind.map_or(String::new(), |kind| kind.get_name().to_string()),
            self.size,
            self.batch,
            device,
            "",
            "",
            "median",
            "min",
            "max",
            "speed-up",
            "theory"
        );
        for row in &self.rows {
            let vanilla = self.rows.iter().find(|other| other.pass == row.pass);
            let of = |value: fn(&Row) -> f64| vanilla.map_or(1.0, value) / value(row);
            let shares: Vec<String> = row.shares.iter().map(f64::to_string).collect();
            let Summary {
                median_ms,
                min_ms,
                max_ms,
            } = row.time;
            text += &format!(
                "\n{:<27} {:10} {median_ms:>10.2} {min_ms:>10.2} {max_ms:>10.2} {:>9.2} {:>7.2}",
                format!("{} {}", row.name, shares.join(",")),
                row.pass,
                of(|row| row.time.median_ms),
                of(|row| row.macs as f64),
            );
        }
        text
    }
}

/// A layer of one kind, ready to run, and its multiply–adds for one image.
type Built<'a> = (Contender<'a, 2>, u64);

fn contender<'a>(
    layers: &Layers,
    form: Form,
    shares: &[f64],
    batch: u32,
    device: &'a Device,
) -> anyhow::Result<Built<'a>> {
    let &Layers {
        channels,
        kernel,
        stride,
        size,
        frames,
        ..
    } = layers;
    let batch = batch as usize;
    // The vanilla layer strides, the others pool, as in the networks.
    let strided = shares == [1.0];
    macro_rules! layer {
        ($config:ident, $kernel:expr, $stride:expr, $size:expr) => {{
            let config = $config::new(channels, $kernel)
                .with_stride($stride)
                .with_bias(false)
                .with_shares(shares)
                .with_strided(strided);
            let layer = config.try_init(device)?;
            let cost: Result<Cost, OctConvError> = config.cost($size);
            let input = input(
                [batch, channels[0]],
                $size,
                shares,
                config.octave_axes,
                device,
            )?;
            let run = move || measure(&input, |x| form.run(|| layer.forward(x)), device);
            (Box::new(run) as Contender<'a, 2>, cost?.macs.total())
        }};
    }
    Ok(match layers.kind {
        Kind::Conv1d => layer!(OctConv1dConfig, [kernel], [stride], [size]),
        Kind::Conv2d => layer!(MultiOctConv2dConfig, [kernel; 2], [stride; 2], [size; 2]),
        Kind::Conv3d => {
            let video = [frames, size, size];
            layer!(OctConv3dConfig, [kernel; 3], [1, stride, stride], video)
        }
        Kind::Transpose1d => layer!(OctConvTranspose1dConfig, [kernel], [stride], [size]),
        Kind::Transpose2d => {
            layer!(
                OctConvTranspose2dConfig,
                [kernel; 2],
                [stride; 2],
                [size; 2]
            )
        }
        Kind::Transpose3d => {
            let video = [frames, size, size];
            layer!(
                OctConvTranspose3dConfig,
                [kernel; 3],
                [1, stride, stride],
                video
            )
        }
    })
}

/// A random map of `[batch, channels]`, that gradients go back to.
fn input<const D: usize, const R: usize>(
    leading: [usize; 2],
    size: [usize; D],
    shares: &[f64],
    octave_axes: [bool; D],
    device: &Device,
) -> anyhow::Result<OctMaps<D, R>> {
    let mut dims = [0; R];
    dims[..2].copy_from_slice(&leading);
    dims[2..].copy_from_slice(&size);
    let full = Tensor::random(dims, Distribution::Normal(0.0, 1.0), device);
    let maps = OctMaps::split(full, shares, octave_axes)?;
    Ok(maps.map(|x| x.detach().require_grad()))
}

/// The times of a pass forward, and of one back from ones.
fn measure<const D: usize, const R: usize>(
    input: &OctMaps<D, R>,
    layer: impl Fn(OctMaps<D, R>) -> OctMaps<D, R>,
    device: &Device,
) -> anyhow::Result<[Duration; 2]> {
    let input = input.clone();
    let (output, forward) = timed(device, || layer(input))?;
    let groups = output.into_groups().into_iter().flatten();
    let loss = groups.map(|group| group.sum()).reduce(|a, b| a + b);
    let loss = loss.ok_or_else(|| anyhow::anyhow!("the layer has no output"))?;
    device.sync()?;
    let (_, backward) = timed(device, || loss.backward())?;
    Ok([forward, backward])
}
