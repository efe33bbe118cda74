//! The command line as a whole, and the arguments that several commands share; those of one command
//! stand beside it.

use std::{env, path::Path, process::ExitCode};

use burn_image_train::{DeviceName, text::shortened};
use burn_octresnet::{
    model::{Alpha, Arch, OctNetConfig, Stem, Stride},
    weights::{Checkpoint, WeightsError},
};
use clap::{
    Args, CommandFactory, Parser,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};

use crate::{
    LONGEST_ERROR,
    commands::Command,
    network::{ModelRecipe, open},
};

/// Trains octave ResNets on folders of images, and uses what was trained.
///
/// Octave convolution keeps part of the channels, the share alpha, at half resolution: with
/// alpha 0.5 a layer needs 44 % of the multiply-adds, ResNet-50 as a whole 58 %. Without any
/// setting, `train` uses the bundled images.
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
  octresnet profile --arch oct-mobilenet-v1

Exit codes: 0 done or stopped by Ctrl-C, 1 error, 2 wrong usage. Results go to the standard
output, everything else to the standard error stream. RUST_LOG=debug tells more."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The network.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Network of the family; `octresnet list` shows them all
    #[arg(long, value_name = "NAME", value_parser = arch())]
    pub(crate) arch: Option<Arch>,
    /// Share of low-frequency channels, 0 to 1, or three for the first three stages: 0.5,0.25,0.25
    ///
    /// 0 is the vanilla network.
    #[arg(long, value_name = "ALPHA")]
    pub(crate) alpha: Option<Alpha>,
    /// Shares of channels at the resolutions 1, 1/2, 1/4 and so on, in place of --alpha: 0.5,0.25,0.25
    ///
    /// Give three, separated by semicolons, for the first three stages: 0.5,0.25,0.25;0.5,0.5;1.
    /// MobileNets and DenseNets have two frequencies only.
    #[arg(long, value_name = "SHARES", conflicts_with = "alpha", value_parser = Alpha::parse_shares)]
    pub(crate) shares: Option<Alpha>,
    /// How the stages take stride 2: pooled, strided, or auto, which is strided at alpha 0 only
    #[arg(long, value_name = "auto|pooled|strided")]
    pub(crate) stride: Option<Stride>,
    /// First layers: imagenet (for 224 pixels) or small (for 32 to 64)
    ///
    /// The default is the recipe's, or with another --arch the one that network was designed with.
    #[arg(long, value_name = "STEM", value_parser = stem)]
    pub(crate) stem: Option<Stem>,
    /// Factor on all channel counts
    #[arg(long, value_name = "FACTOR")]
    pub(crate) width: Option<f64>,
}

impl ModelArgs {
    /// Puts the flags that were given over a recipe's network.
    pub(crate) fn apply(&self, model: &mut ModelRecipe) {
        if let Some(arch) = self.arch
            && arch != model.arch
        {
            model.arch = arch;
            model.stem = arch.default_stem();
        }
        model.alpha = self.shares.or(self.alpha).unwrap_or(model.alpha);
        model.stride = self.stride.unwrap_or(model.stride);
        model.stem = self.stem.unwrap_or(model.stem);
        model.width = self.width.unwrap_or(model.width);
    }
}

/// The network to count.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Height and width of the image in pixels [default: 224, or 32 for networks for small images]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    size: Option<u32>,
    /// Classes to tell apart [default: 1000, or 10 for networks for small images]
    #[arg(long, value_name = "N")]
    classes: Option<u32>,
}

impl NetworkArgs {
    /// The network: what is not given is as the architecture was published.
    pub(crate) fn config(&self) -> OctNetConfig {
        let arch = self.arch();
        let mut recipe = ModelRecipe {
            arch,
            alpha: Alpha::Uniform(0.5),
            stem: arch.default_stem(),
            width: 1.0,
            ..Default::default()
        };
        self.model.apply(&mut recipe);
        let classes = self.classes.map(|classes| classes as usize);
        recipe.config(classes.unwrap_or(arch.num_classes()))
    }

    /// Height and width of the image in pixels.
    pub(crate) fn size(&self) -> u32 {
        // Published sizes are 32 and 224.
        self.size.unwrap_or(self.arch().image_size()[0] as u32)
    }

    fn arch(&self) -> Arch {
        self.model.arch.unwrap_or(Arch::OctResNet50)
    }
}

/// How weights of other programs are read.
#[derive(Debug, Args)]
pub(crate) struct WeightsArgs {
    /// Which weights to take of a checkpoint with several networks, such as model_ema
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Take weights that are NaN or infinite, too
    #[arg(long)]
    pub(crate) allow_nan: bool,
}

impl WeightsArgs {
    /// Opens a checkpoint.
    pub(crate) fn open(&self, path: &Path) -> Result<Checkpoint, WeightsError> {
        open(path, self.key.as_deref(), self.allow_nan)
    }
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

/// Reads the name of an architecture; the help lists them all.
fn arch() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.map(Arch::name)).try_map(|name| name.parse::<Arch>())
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
            let line = one_line(&error.to_string(), env::args());
            eprintln!("{}", shortened(&line, LONGEST_ERROR));
            ExitCode::from(2)
        }
    })
}

/// A usage error without the usage: what is wrong, the tip if there is one, and where to read on
/// about the subcommand that `arguments` name.
fn one_line(message: &str, arguments: impl Iterator<Item = String>) -> String {
    let paragraphs = message.split("\n\n").map(|paragraph| {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let said: Vec<_> = paragraphs
        .filter(|text| !text.is_empty())
        .filter(|text| !text.starts_with("For more information") && !text.starts_with("Usage:"))
        .collect();
    let top = Cli::command();
    let mut command = &top;
    let mut path = String::new();
    for name in arguments.skip(1) {
        let Some(sub) = command.find_subcommand(&name) else {
            break;
        };
        command = sub;
        path = path + &name + " ";
    }
    format!("{}; see octresnet {path}--help", said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_one_line() {
        let error = |line: &str| {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            one_line(&error.to_string(), line.split(' ').map(String::from))
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

    /// The command lines of the README and of the help, as far as they are meant to be typed.
    #[test]
    fn printed_command_lines_are_understood() {
        let readme = include_str!("../../../README.md");
        let mut texts = vec![readme.to_string()];
        let mut command = Cli::command();
        texts.push(command.render_long_help().to_string());
        for sub in command.get_subcommands_mut() {
            texts.push(sub.render_long_help().to_string());
        }
        let lines = texts.iter().flat_map(|text| text.lines());
        let calls = lines.filter_map(|line| {
            let line = line
                .split("   ")
                .find(|part| !part.trim().is_empty())?
                .trim();
            match line.strip_prefix("cargo run ") {
                Some(line) => line.split_once(" -- ").map(|(_, arguments)| arguments),
                None => line.strip_prefix("octresnet "),
            }
        });
        let mut count = 0;
        for call in calls {
            let words = call.split_whitespace();
            if let Err(error) = Cli::try_parse_from(["octresnet"].into_iter().chain(words)) {
                panic!("octresnet {call}: {error}");
            }
            count += 1;
        }
        assert!(count > 15, "{count} command lines found");
    }
}
