use std::{collections::BTreeMap, process::ExitCode};

use burn::tensor::Device;
use burn_image_train::text::{percent, short_bytes, short_count, thousands};
use burn_octconv::{Cost, PathMacs, relative_cost};
use burn_octresnet::model::{Alpha, LayerCost, ModelError, OctNetConfig, Stride};
use clap::Args;
use serde::Serialize;

use crate::{
    cli::NetworkArgs,
    network::stride_words,
    output::{print, print_json},
    table::Table,
};

/// Says where a network's cost lies: layer by layer, and for a range of alpha.
///
/// Per image and in f32: parameters, multiply-adds of each path of the octave convolutions (H is
/// the high, L the low frequency), and bytes of the layer's output. Training keeps all outputs of
/// convolutions for the backward pass; inference needs input and output of one layer at a time.
/// Norms are listed with their parameters; fused into the convolution before them, they cost
/// nothing else. All is counted from shapes, nothing is run. Convolutions that no engine computes on the
/// default device are named with the reason: they are composed of Burn's operations.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet profile --arch oct-resnet-50 --alpha 0.25
  octresnet profile --arch oct-resnet-20 --sweep 0,0.125,0.25 --json

--json prints {\"arch\",\"alpha\",\"stride\",\"size\",\"classes\",\"total\",\"layers\":[…],\"sweep\":[…]}. A cost is {\"params\",
\"macs\":{\"h2h\",\"h2l\",\"l2h\",\"l2l\",\"total\"},\"activation_bytes\":{\"inference\",\"training\"}}; a layer has
\"name\",\"cost\" and its \"share\" of {\"params\",\"macs\",\"training\"}, and \"composed\", the reason, if no
engine computes it; a row of the sweep has \"alpha\" and either \"cost\" and its \"share\" of the vanilla network, or \"error\".")]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// The alphas to compare, separated by commas
    #[arg(
        long,
        value_name = "ALPHAS",
        value_delimiter = ',',
        default_value = "0,0.125,0.25,0.5,0.75,0.875,1"
    )]
    sweep: Vec<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Bytes of an element, f32.
const ELEMENT: u64 = 4;

#[derive(Serialize)]
struct Profile {
    arch: String,
    alpha: Alpha,
    stride: Stride,
    size: u32,
    classes: usize,
    total: CostReport,
    layers: Vec<LayerReport>,
    sweep: Vec<SweepRow>,
}

#[derive(Serialize)]
struct CostReport {
    params: u64,
    macs: MacsReport,
    activation_bytes: Bytes,
}

#[derive(Serialize)]
struct MacsReport {
    h2h: u64,
    h2l: u64,
    l2h: u64,
    l2l: u64,
    total: u64,
}

#[derive(Serialize)]
struct Bytes {
    inference: u64,
    training: u64,
}

/// Shares from 0 to 1, of the whole network or of the vanilla one.
#[derive(Serialize)]
struct Shares {
    params: f64,
    macs: f64,
    training: f64,
}

#[derive(Serialize)]
struct LayerReport {
    name: String,
    cost: CostReport,
    share: Shares,
    /// Why it is composed of Burn's operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    composed: Option<String>,
}

#[derive(Serialize)]
struct SweepRow {
    alpha: f64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Possible { cost: CostReport, share: Shares },
    Impossible { error: String },
}

impl From<&Cost> for CostReport {
    fn from(cost: &Cost) -> Self {
        let PathMacs { h2h, h2l, l2h, l2l } = cost.macs;
        Self {
            params: cost.params,
            macs: MacsReport {
                h2h,
                h2l,
                l2h,
                l2l,
                total: cost.macs.total(),
            },
            activation_bytes: Bytes {
                inference: ELEMENT * cost.working_set,
                training: ELEMENT * cost.activations,
            },
        }
    }
}

impl Shares {
    fn of(part: &Cost, whole: &Cost) -> Self {
        // A network always has all three: the classifier alone has.
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        Self {
            params: share(part.params, whole.params),
            macs: share(part.macs.total(), whole.macs.total()),
            training: share(part.activations, whole.activations),
        }
    }
}

pub(super) fn run(arguments: ProfileArgs) -> anyhow::Result<ExitCode> {
    let config = arguments.network.config();
    let size = arguments.network.size();
    let layers = config.layer_costs([size as usize; 2])?;
    let profile = Profile {
        arch: config.arch.to_string(),
        alpha: config.alpha,
        stride: config.stride,
        size,
        classes: config.num_classes,
        total: (&total(&layers)).into(),
        layers: layer_reports(&layers),
        sweep: sweep(&config, size, &arguments.sweep)?,
    };
    match arguments.json {
        true => print_json(&profile)?,
        false => print(&text(&profile))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn total(layers: &[LayerCost]) -> Cost {
    layers.iter().map(|layer| layer.cost).sum()
}

fn layer_reports(layers: &[LayerCost]) -> Vec<LayerReport> {
    let (total, device) = (total(layers), Device::default());
    let report = |layer: &LayerCost| LayerReport {
        name: layer.name.clone(),
        cost: (&layer.cost).into(),
        share: Shares::of(&layer.cost, &total),
        composed: layer.refusal(&device).map(|refusal| refusal.to_string()),
    };
    layers.iter().map(report).collect()
}

/// The network at each alpha beside the vanilla one. Not every alpha makes a network: groups of a
/// ResNeXt may not divide its channels, which its row then says. An alpha outside [0, 1] is an
/// error.
fn sweep(config: &OctNetConfig, size: u32, alphas: &[f64]) -> Result<Vec<SweepRow>, ModelError> {
    let size = [size as usize; 2];
    let vanilla = config.vanilla().cost(size)?;
    let row = |&alpha: &f64| {
        let config = OctNetConfig {
            alpha: Alpha::Uniform(alpha),
            ..config.clone()
        };
        let outcome = match config.cost(size) {
            Ok(cost) => Outcome::Possible {
                share: Shares::of(&cost, &vanilla),
                cost: (&cost).into(),
            },
            Err(error @ ModelError::Layer { .. }) => Outcome::Impossible {
                error: error.to_string(),
            },
            Err(error) => return Err(error),
        };
        Ok(SweepRow { alpha, outcome })
    };
    alphas.iter().map(row).collect()
}

fn text(profile: &Profile) -> String {
    let Profile {
        arch,
        alpha,
        size,
        classes,
        ..
    } = profile;
    let stride = stride_words(profile.stride);
    format!(
        "{arch}, alpha {alpha}{stride}, {size}x{size} pixels, {classes} classes; per image, in f32\n\n{}{}\n\
         The network at other alphas, beside what the formula says of a single layer:\n\n{}",
        layer_table(profile),
        composed(&profile.layers),
        sweep_table(&profile.sweep),
    )
}

fn layer_table(profile: &Profile) -> Table {
    let mut table = Table::new(&[
        "layer",
        "parameters",
        "%",
        "H>H",
        "H>L",
        "L>H",
        "L>L",
        "multiply-adds",
        "%",
        "output",
        "%",
    ]);
    let whole = Shares {
        params: 1.0,
        macs: 1.0,
        training: 1.0,
    };
    let layers = profile.layers.iter();
    let rows = layers.map(|layer| (layer.name.as_str(), &layer.cost, &layer.share));
    for (name, cost, share) in rows.chain([("all", &profile.total, &whole)]) {
        let macs = &cost.macs;
        let points = |share: f64| format!("{:.1}", 100.0 * share);
        // A path that does not exist costs nothing.
        let count = |count: u64| match count {
            0 => "-".into(),
            count => short_count(count),
        };
        table.row([
            name.into(),
            thousands(cost.params),
            points(share.params),
            count(macs.h2h),
            count(macs.h2l),
            count(macs.l2h),
            count(macs.l2l),
            count(macs.total),
            points(share.macs),
            short_bytes(cost.activation_bytes.training),
            points(share.training),
        ]);
    }
    table
}

/// The layers that are composed of Burn's operations, by reason.
fn composed(layers: &[LayerReport]) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for layer in layers {
        if let Some(reason) = &layer.composed {
            reasons.entry(reason).or_default().push(&layer.name);
        }
    }
    let line = |(reason, names): (&str, Vec<&str>)| {
        format!("composed, for {reason}: {}\n", names.join(", "))
    };
    reasons.into_iter().map(line).collect()
}

/// The table, and below it why some alphas make no network.
fn sweep_table(sweep: &[SweepRow]) -> String {
    let mut table = Table::new(&[
        "alpha",
        "multiply-adds",
        "of vanilla",
        "one layer",
        "training",
        "of vanilla",
        "one layer",
        "inference",
    ]);
    let mut notes = String::new();
    for SweepRow { alpha, outcome } in sweep {
        let (macs, memory) = relative_cost(*alpha);
        let name = alpha.to_string();
        match outcome {
            Outcome::Possible { cost, share } => table.row([
                name,
                short_count(cost.macs.total),
                percent(share.macs),
                percent(macs),
                short_bytes(cost.activation_bytes.training),
                percent(share.training),
                percent(memory),
                short_bytes(cost.activation_bytes.inference),
            ]),
            Outcome::Impossible { error } => {
                notes += &format!("\nalpha {name} is impossible: {error}");
            }
        }
    }
    format!("{table}{notes}").trim_end().into()
}
