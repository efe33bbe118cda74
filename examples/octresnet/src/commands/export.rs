use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use burn::tensor::Device;
use burn_image_folder::shown;
use burn_image_train::{
    RunDir,
    text::{lossy, thousands},
};
use burn_octresnet::{
    model::{Alpha, Arch, OctNet, Stride},
    weights::Format,
};
use clap::Args;
use serde::Serialize;

use crate::{
    cli::WeightsArgs,
    network::Recipe,
    output::{print, print_json},
};

/// Writes a network for use in other programs.
///
/// ONNX files run in any ONNX runtime, from images normalised as in training (input `images`) to
/// logits (output `logits`), with batch norms folded into convolutions. safetensors load into
/// PyTorch with strict=True; .bpk is this project's own format.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet export runs/emoji-1 emoji.onnx
  octresnet export runs/emoji-1 --onnx --size 96 --batch 8      into emoji-1.onnx
  octresnet export resnet50.pth resnet50.onnx
  octresnet export runs/emoji-1 emoji.safetensors

ONNX needs a build with it: cargo build --release -p octresnet --features onnx
The ending of OUT decides the format, unless --onnx does. Another alpha or classifier: octresnet convert.
--json prints {\"arch\",\"alpha\",\"output\",\"bytes\",\"input\"}; input is the shape [batch,3,height,width] of
an ONNX file's images, with null where any number will do, and null for other files.")]
pub(crate) struct ExportArgs {
    /// Folder of a run, for its best weights, or a checkpoint: .pth, .pt, .safetensors, .bpk
    model: PathBuf,
    /// File to write: .onnx, .safetensors or .bpk [default with --onnx: the name of MODEL]
    #[arg(value_name = "OUT", required_unless_present = "onnx")]
    output: Option<PathBuf>,
    /// Write ONNX, whatever the ending
    #[arg(long)]
    onnx: bool,
    /// Height and width of the images of an ONNX network [default: as validated in training, else
    /// as the network was designed for]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    size: Option<u32>,
    /// Images that an ONNX network takes at a time [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// How the stages of an ONNX network take stride 2, which weights do not tell: auto, pooled or
    /// strided [default: as in training, else auto]
    #[arg(long, value_name = "auto|pooled|strided")]
    stride: Option<Stride>,
    /// Leave the batch norms of an ONNX network as they are
    #[arg(long)]
    keep_norms: bool,
    #[command(flatten)]
    weights: WeightsArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `[batch, channels, height, width]`; the batch may be any number.
type Input = [Option<usize>; 4];

#[derive(Serialize)]
struct Exported {
    arch: Arch,
    alpha: Alpha,
    #[serde(serialize_with = "lossy")]
    output: PathBuf,
    bytes: u64,
    input: Option<Input>,
}

pub(super) fn run(arguments: ExportArgs) -> anyhow::Result<ExitCode> {
    let (output, onnx) = arguments.target()?;
    let checkpoint = arguments.weights.open(&arguments.model)?;
    let recipe = recipe_of(&arguments.model);
    let trained = recipe.as_ref().map(|recipe| recipe.model.stride);
    let config = checkpoint
        .detect()?
        .with_stride(arguments.stride.or(trained).unwrap_or_default());
    config.validate()?;
    // A device of its own is not worth it: nothing is computed but the folding.
    let model = checkpoint.load(&config, &Device::default())?;
    let input = match onnx {
        true => {
            let size = recipe.map(|recipe| [recipe.data.val.size; 2]);
            Some(arguments.write_onnx(model, size.unwrap_or(config.arch.image_size()), &output)?)
        }
        false => {
            model.save_weights(&config, &output, false)?;
            None
        }
    };
    let exported = Exported {
        arch: config.arch,
        alpha: config.alpha,
        bytes: fs::metadata(&output)?.len(),
        output,
        input,
    };
    match arguments.json {
        true => print_json(&exported)?,
        false => print(&line(&exported))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl ExportArgs {
    /// The file to write and whether it is to be ONNX.
    fn target(&self) -> anyhow::Result<(PathBuf, bool)> {
        let output = match &self.output {
            Some(output) => output.clone(),
            None => self.default_output()?,
        };
        let onnx = self.onnx || output.extension().is_some_and(|ending| ending == "onnx");
        if onnx && !cfg!(feature = "onnx") {
            bail!(
                "this build cannot write ONNX: build it with `cargo build --release -p octresnet --features onnx`"
            );
        }
        if !onnx {
            if Format::of_ending(&output).is_err() {
                bail!(
                    "`{}` has no known ending: use .onnx, .safetensors or .bpk",
                    shown(&output)
                );
            }
            let of_onnx = [
                self.size.is_some(),
                self.batch.is_some(),
                self.stride.is_some(),
            ];
            if self.keep_norms || of_onnx.contains(&true) {
                bail!(
                    "--size, --batch, --stride and --keep-norms are for ONNX, and `{}` is not: add --onnx or name it .onnx",
                    shown(&output)
                );
            }
        }
        Ok((output, onnx))
    }

    /// An ONNX file in the current folder, named after the folder or file of weights.
    fn default_output(&self) -> anyhow::Result<PathBuf> {
        let name = match self.model.is_dir() {
            true => self.model.file_name(),
            false => self.model.file_stem(),
        };
        let name = name.context("name a file to write: MODEL has no name to take over")?;
        let mut name = name.to_os_string();
        name.push(".onnx");
        Ok(name.into())
    }

    /// Writes ONNX, for images as in training unless told otherwise, and returns the shape of its
    /// input.
    fn write_onnx(
        &self,
        model: OctNet,
        trained: [usize; 2],
        output: &Path,
    ) -> anyhow::Result<Input> {
        let size = match self.size {
            Some(size) => [size as usize; 2],
            None => trained,
        };
        let batch = self.batch.map(|batch| batch as usize);
        let model = match self.keep_norms {
            true => model,
            false => model.fold_batch_norm(),
        };
        save_onnx(&model, output, batch, size)?;
        Ok([batch, Some(3), Some(size[0]), Some(size[1])])
    }
}

/// The recipe that was trained by, if this is a run or a file in one.
fn recipe_of(model: &Path) -> Option<Recipe> {
    let folders = [Some(model), model.parent()].into_iter().flatten();
    let mut recipes = folders.map(|folder| RunDir::at(folder).config());
    recipes.find_map(|path| Recipe::load(path).ok())
}

#[cfg(feature = "onnx")]
fn save_onnx(
    model: &OctNet,
    output: &Path,
    batch: Option<usize>,
    size: [usize; 2],
) -> anyhow::Result<()> {
    Ok(model.save_onnx(output, batch, size)?)
}

#[cfg(not(feature = "onnx"))]
fn save_onnx(
    _model: &OctNet,
    _output: &Path,
    _batch: Option<usize>,
    _size: [usize; 2],
) -> anyhow::Result<()> {
    unreachable!("refused before the network was read")
}

fn line(exported: &Exported) -> String {
    let Exported {
        arch,
        alpha,
        output,
        bytes,
        input,
    } = exported;
    let (output, bytes) = (shown(output), thousands(*bytes));
    let input = input.map_or(String::new(), |shape| {
        let shape = shape.map(|axis| axis.map_or("batch".to_string(), |size| size.to_string()));
        format!(", images {}", shape.join("x"))
    });
    format!("{output} ({bytes} bytes): {arch}, alpha {alpha}{input}")
}
