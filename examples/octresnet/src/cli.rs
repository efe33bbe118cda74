//! The command line.

use std::{path::PathBuf, process::ExitCode};

use burn_octresnet::{
    model::{Alpha, Arch, Stem},
    train::DeviceName,
};
use clap::{Args, Parser, Subcommand, error::ErrorKind};

/// Trains octave ResNets on folders of images, and uses what was trained.
///
/// Octave convolution keeps part of the channels, the share alpha, at half resolution: with
/// alpha 0.5 a ResNet needs 44 % of the multiply-adds. Without any setting, `train` uses the
/// bundled images.
#[derive(Debug, Parser)]
#[command(
    name = "octresnet",
    version,
    args_override_self = true,
    after_help = "\
Examples:
  octresnet train                                      a first run, in runs/emoji-1
  octresnet predict runs/emoji-1 some/pictures --top 3
  octresnet train --data my/pictures --epochs 30
  octresnet info --arch oct-resnet-50 --alpha 0.25

Exit codes: 0 done or stopped by Ctrl-C, 1 error, 2 wrong usage. Results go to the standard
output, everything else to the standard error stream. RUST_LOG=debug tells more."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Train(TrainArgs),
    Evaluate(EvaluateArgs),
    Predict(PredictArgs),
    Info(InfoArgs),
}

/// Trains a network.
///
/// A run is decided by its recipe, a JSON file, and by flags, which go before it. It writes into
/// one folder: config.json (the recipe, complete), classes.json, metrics.csv (a row per epoch),
/// best.bpk and last.bpk (weights after the best and the last epoch) and checkpoint/ (what
/// --resume needs).
#[derive(Debug, Args)]
#[command(after_help = "\
Images lie in DIR/train/CLASS/... and DIR/val/CLASS/..., or in DIR/CLASS/..., of which a share is
kept for validation. For pictures of 224 pixels:

  octresnet train --data DIR --arch oct-resnet-50 --stem imagenet --width 1 --size 224

Ctrl-C stops after the step at hand. --resume then goes on after the last whole epoch:

  octresnet train --resume                   the newest run of this name
  octresnet train --resume --output DIR      the run in DIR
  octresnet train --resume --epochs 50       longer than it was meant to be

The same seed gives the same order of images and the same augmentation for any --workers and
after any --resume.")]
pub(crate) struct TrainArgs {
    /// Recipe to start from; what it leaves out is as in the default run
    #[arg(long, value_name = "FILE.json")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of images
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Height and width in pixels that images are brought to
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// How often every image is seen
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    pub(crate) lr: Option<f64>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Decides first weights, order of images, augmentation and split
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Folder of the run [default: a new one under runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Go on with the run in --output, or with the newest
    #[arg(long)]
    pub(crate) resume: bool,
    /// Lines of text also on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Measures a trained network on a folder of images.
///
/// Loss, top-1 and top-5 accuracy, and the accuracy of each class. Images that cannot be read
/// are named, counted and left out.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet evaluate runs/emoji-1
  octresnet evaluate runs/emoji-1/last.bpk --data my/pictures --json

--json prints {\"images\",\"skipped\",\"loss\",\"top1\",\"top5\",\"per_class\":[{\"class\",\"images\",\"top1\"}]} with
accuracies from 0 to 1; top1 of a class without images is null.")]
pub(crate) struct EvaluateArgs {
    /// Folder of a run, for its best weights, or a weights file in one
    pub(crate) model: PathBuf,
    /// Folder of images: DIR/val/CLASS/... or DIR/CLASS/... [default: what the run validated on]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Images at a time [default: as in training]
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says what a trained network sees in images.
///
/// Folders are walked. An image that cannot be read is named and left out; the exit code is 1
/// only if not a single one could be read.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet predict runs/emoji-1 cat.png dog.jpg
  octresnet predict runs/emoji-1 my/pictures --top 1 --json

--json prints [{\"image\",\"predictions\":[{\"class\",\"probability\"}]}], best first.")]
pub(crate) struct PredictArgs {
    /// Folder of a run, for its best weights, or a weights file in one
    pub(crate) model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// How many classes to name
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
    /// Where to compute: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceName::Auto)]
    pub(crate) device: DeviceName,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says what a network costs, beside the same network without octave convolution.
///
/// Counts multiply-adds of convolutions and classifier for one image. Parameters do not depend
/// on alpha.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet info --arch oct-resnet-50 --alpha 0.5
  octresnet info --arch oct-resnet-26 --alpha 0.5,0.25,0.125 --size 64 --stem small --json

--json prints {\"arch\",\"alpha\",\"size\",\"params\",\"macs\",\"vanilla\":{\"params\",\"macs\"}}.")]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Height and width of the image in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) size: u32,
    /// Classes to tell apart
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) classes: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The network.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Network: oct-resnet-26 or oct-resnet-50
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Option<Arch>,
    /// Share of low-frequency channels, 0 to 1, or three for the first three stages: 0.5,0.25,0.25
    ///
    /// 0 is the vanilla network.
    #[arg(long, value_name = "ALPHA")]
    pub(crate) alpha: Option<Alpha>,
    /// First layers: imagenet (for 224 pixels) or small (for 32 to 64)
    #[arg(long, value_name = "STEM", value_parser = stem)]
    pub(crate) stem: Option<Stem>,
    /// Factor on all channel counts
    #[arg(long, value_name = "FACTOR")]
    pub(crate) width: Option<f64>,
}

/// What does not change the result.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Where to compute: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceName>,
    /// Threads that read and prepare images
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
}

fn stem(name: &str) -> Result<Stem, String> {
    match name {
        "imagenet" => Ok(Stem::Imagenet),
        "small" => Ok(Stem::Small),
        _ => Err("use imagenet or small".into()),
    }
}

/// Parses the command line, or prints help or what is wrong with it.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody to tell if the help cannot be printed.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
        _ => {
            eprintln!("{}", one_line(&error.to_string()));
            ExitCode::from(2)
        }
    })
}

/// A usage error without the usage: what is wrong, the tip if there is one, and where to read on.
fn one_line(message: &str) -> String {
    let paragraphs = message.split("\n\n").map(|paragraph| {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let (usage, said): (Vec<_>, Vec<_>) = paragraphs
        .filter(|text| !text.is_empty() && !text.starts_with("For more information"))
        .partition(|text| text.starts_with("Usage:"));
    let command = usage.first().and_then(|usage| {
        let name = usage.split_whitespace().nth(2)?;
        name.chars()
            .all(char::is_lowercase)
            .then(|| format!("{name} "))
    });
    let command = command.unwrap_or_default();
    format!("{}; see octresnet {command}--help", said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_one_line() {
        let error = |line: &str| {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            one_line(&error.to_string())
        };
        assert_eq!(
            error("octresnet train --epoch 3"),
            "error: unexpected argument '--epoch' found; tip: a similar argument exists: '--epochs'; see octresnet train --help"
        );
        let missing = error("octresnet predict");
        assert!(
            missing.contains("<MODEL>") && !missing.contains('\n'),
            "{missing}"
        );
        let arch = error("octresnet info --arch resnet");
        assert!(
            arch.contains("oct-resnet-26") && !arch.contains('\n'),
            "{arch}"
        );
    }
}
