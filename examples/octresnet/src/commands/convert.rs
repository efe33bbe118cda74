use std::{fs, path::PathBuf, process::ExitCode};

use burn::tensor::Device;
use burn_image_folder::shown;
use burn_image_train::text::{lossy, thousands};
use burn_octresnet::{
    model::{Alpha, Arch, OctNetConfig, Stem},
    weights::{Checkpoint, Format, WeightsError},
};
use clap::Args;
use serde::Serialize;

use crate::{
    cli::WeightsArgs,
    output::{print, print_json},
};

/// Brings weights into another format, alpha, number of classes or precision.
///
/// Reads PyTorch files, safetensors and burnpack, told by their content, in the layouts of
/// d-li14/octconv.pytorch, of torchvision and timm, and of this project, under any key and prefix.
/// Which network it is follows from the names and shapes of the tensors. Writes burnpack, or
/// safetensors that PyTorch loads with strict=True.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet convert octresnet50.pth octresnet50.safetensors
  octresnet convert resnet50.pth start.bpk --alpha 0.25 --classes 10     to train --init start.bpk
  octresnet convert runs/emoji-1 emoji.safetensors --f16

Another alpha keeps every parameter but not the function: it is a start for fine-tuning.
--json prints {\"arch\",\"alpha\",\"stem\",\"width\",\"classes\",\"params\",\"input\",\"output\",\"bytes\"}.")]
pub(crate) struct ConvertArgs {
    /// Weights, or the folder of a run
    input: PathBuf,
    /// File to write, .safetensors or .bpk
    output: PathBuf,
    /// Network that the weights are of; an error says what does not fit [default: detected]
    #[arg(long, value_name = "NAME")]
    arch: Option<Arch>,
    /// Share of low-frequency channels to convert to, 0 to 1, or three for the first three stages
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<Alpha>,
    /// Shares at the resolutions 1, 1/2, 1/4 and so on to convert to, such as 0.5,0.25,0.25
    #[arg(long, value_name = "SHARES", conflicts_with = "alpha", value_parser = Alpha::parse_shares)]
    shares: Option<Alpha>,
    /// Give it a new, random classifier for this many classes
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Save in half precision
    #[arg(long)]
    f16: bool,
    #[command(flatten)]
    weights: WeightsArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Converted {
    arch: Arch,
    alpha: Alpha,
    stem: Stem,
    width: f64,
    classes: usize,
    params: u64,
    input: String,
    #[serde(serialize_with = "lossy")]
    output: PathBuf,
    bytes: u64,
}

pub(super) fn run(arguments: ConvertArgs) -> anyhow::Result<ExitCode> {
    let output = &arguments.output;
    // Before the work, not after it.
    Format::of_ending(output)?;
    let checkpoint = arguments.weights.open(&arguments.input)?;
    let config = target(&checkpoint, &arguments)?;
    // A device of its own is not worth it: nothing is computed.
    let model = checkpoint.load_as(&config, &Device::default());
    let model = model.inspect_err(tell_mismatches)?;
    model.save_weights(&config, output, arguments.f16)?;
    let converted = Converted {
        arch: config.arch,
        alpha: config.alpha,
        stem: config.stem,
        width: config.width,
        classes: config.num_classes,
        params: config.cost(config.arch.image_size())?.params,
        input: format!(
            "{} in the {} layout",
            checkpoint.format(),
            checkpoint.layout()
        ),
        output: output.clone(),
        bytes: fs::metadata(output)?.len(),
    };
    match arguments.json {
        true => print_json(&converted)?,
        false => print(&line(&converted))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The network to write.
fn target(checkpoint: &Checkpoint, arguments: &ConvertArgs) -> Result<OctNetConfig, WeightsError> {
    let mut config = match arguments.arch {
        Some(arch) => checkpoint.detect_as(arch),
        None => checkpoint.detect()?,
    };
    let alpha = arguments.shares.or(arguments.alpha);
    config.alpha = alpha.unwrap_or(config.alpha);
    config.num_classes = arguments.classes.unwrap_or(config.num_classes);
    config.validate()?;
    Ok(config)
}

/// The message of a mismatch has its first entries; these are all.
pub(super) fn tell_mismatches(error: &WeightsError) {
    if let WeightsError::Mismatch { mismatches, .. } = error {
        for line in mismatches.lines() {
            eprintln!("  {line}");
        }
    }
}

fn line(converted: &Converted) -> String {
    let Converted {
        arch,
        alpha,
        width,
        classes,
        input,
        output,
        bytes,
        ..
    } = converted;
    let (params, bytes) = (thousands(converted.params), thousands(*bytes));
    let output = shown(output);
    format!(
        "{input} -> {output} ({bytes} bytes): {arch}, alpha {alpha}, width {width}, {classes} classes, {params} parameters"
    )
}
