use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use burn_image_folder::prepare::{self, ImageNet, Labels, PartReport, Prepared};
use burn_image_train::text::thousands;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    output::{print, print_json, progress},
    pictures, recipes,
};

/// Makes the image folder that `train` reads from the archives of a published data set.
///
/// train/CLASS/... and val/CLASS/... get their names when they are whole. Stopped or killed, the same
/// command goes on and ends with the same folder; what is there already is left as it is. It
/// warns if the counts differ from the published ones.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet prepare imagenet --train ILSVRC2012_img_train.tar --val ILSVRC2012_img_val.tar --labels ILSVRC2012_devkit_t12.tar.gz
  octresnet prepare cifar cifar-10-binary.tar.gz
  octresnet prepare parquet downloads/food101 --output data/food101
  octresnet prepare emoji")]
pub(crate) struct PrepareArgs {
    #[command(subcommand)]
    set: Set,
}

#[derive(Debug, Subcommand)]
enum Set {
    /// ImageNet-1k, from its archives of 2012
    ///
    /// Either archive may be left out and prepared later.
    #[command(after_help = "\
The images to validate on have no classes in their names. --labels is the development kit as it is,
or a list: a line per image with its synset (n01751748) or its number in --synsets, behind the name of
the image if it has one, as in ImageNet's LOC_val_solution.csv.")]
    Imagenet {
        /// ILSVRC2012_img_train.tar
        #[arg(long, value_name = "TAR")]
        train: Option<PathBuf>,
        /// ILSVRC2012_img_val.tar
        #[arg(long, value_name = "TAR")]
        val: Option<PathBuf>,
        /// ILSVRC2012_devkit_t12.tar.gz, or a list of the classes of the validation images
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
        /// For lists with numbers: lines of a number and a synset, as 1 n02119789
        #[arg(long, value_name = "FILE", requires = "labels")]
        synsets: Option<PathBuf>,
        #[command(flatten)]
        to: ToArgs,
    },
    /// CIFAR-10 or CIFAR-100, from the archive of its binary version
    Cifar {
        /// cifar-10-binary.tar.gz or cifar-100-binary.tar.gz
        #[arg(value_name = "TAR.GZ")]
        archive: PathBuf,
        /// Use CIFAR-100's 20 groups of classes as the classes
        #[arg(long)]
        coarse: bool,
        #[command(flatten)]
        to: ToArgs,
    },
    /// Any data set of Parquet files with a column of images, such as those of Hugging Face
    ///
    /// In a build with the feature parquet.
    #[command(after_help = "\
The names of the files, or of the folders that they are in, say which part they are of, as
train-00000-of-00004.parquet or validation/0000.parquet. Which columns hold images and classes, and what
the classes are called, is in the files that Hugging Face writes; else the columns image or img and label
are taken.")]
    Parquet(ParquetArgs),
    /// The emoji of the default run, which come with the program
    ///
    /// Noto Emoji (Apache-2.0) and Twemoji (CC BY 4.0), with their attribution.
    Emoji {
        #[command(flatten)]
        to: ToArgs,
    },
}

/// The data set in Parquet files.
#[derive(Debug, Args)]
struct ParquetArgs {
    /// Parquet files, or folders that have such files in them or below
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Name of the part to train on
    #[arg(long, value_name = "NAME", default_value = "train")]
    train: String,
    /// Name of the part to validate on [default: validation, val or valid]
    #[arg(long, value_name = "NAME")]
    val: Option<String>,
    /// Column of the images, where there are several
    #[arg(long, value_name = "COLUMN")]
    image: Option<String>,
    /// Column of the classes, where there are several
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    #[command(flatten)]
    to: ToArgs,
}

/// Where an image folder goes.
#[derive(Debug, Args)]
struct ToArgs {
    /// Folder to make [default: where the recipes look for it, such as data/imagenet]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print JSON: {"output","parts":[{"part","classes","images","published"}]}
    ///
    /// classes and images are null for a part that was there already; published has both numbers of
    /// the data set, if they are known.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    output: &'a Path,
    parts: Vec<PartRow>,
}

#[derive(Serialize)]
struct PartRow {
    part: &'static str,
    classes: Option<usize>,
    images: Option<usize>,
    published: Option<[usize; 2]>,
}

pub(super) fn run(arguments: PrepareArgs) -> anyhow::Result<ExitCode> {
    let mut progress = progress();
    let (to, usual) = match &arguments.set {
        Set::Imagenet { to, .. } => (to, "data/imagenet".into()),
        Set::Cifar {
            to, coarse: true, ..
        } => (to, "data/cifar100-coarse".into()),
        Set::Cifar { to, archive, .. } => (to, cifar_folder(archive)),
        Set::Parquet(set) => (&set.to, "data/parquet".into()),
        Set::Emoji { to } => (to, recipes::bundled_images()),
    };
    let output = to.output.clone().unwrap_or(usual);
    let made = make(&arguments.set, &output, &mut progress)?;
    for part in made.parts.iter().filter(|part| part.differs()) {
        if let (Some(counts), Some(published)) = (part.counts, part.published) {
            let [counts, published] = [counts, published].map(count);
            log::warn!(
                "{} has {counts}, and was published with {published}",
                part.split
            );
        }
    }
    match to.json {
        true => print_json(&Made {
            output: &output,
            parts: made.parts.iter().map(row).collect(),
        })?,
        false => {
            let lines: Vec<_> = made.parts.iter().map(|part| line(&output, part)).collect();
            print(&lines.join("\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn make(
    set: &Set,
    output: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> anyhow::Result<Prepared> {
    Ok(match set {
        Set::Imagenet {
            train,
            val,
            labels,
            synsets,
            ..
        } => {
            let files = ImageNet {
                train: train.as_deref(),
                val: val.as_deref(),
                labels: labels.as_deref(),
                synsets: synsets.as_deref(),
            };
            prepare::imagenet(files, output, progress)?
        }
        Set::Cifar {
            archive, coarse, ..
        } => {
            let labels = match coarse {
                true => Labels::Coarse,
                false => Labels::Fine,
            };
            prepare::cifar(archive, labels, output, progress)?
        }
        Set::Parquet(set) => parquet(set, output, progress)?,
        Set::Emoji { .. } => {
            prepare::plain_files(&[pictures::EMOJI_ATTRIBUTION], output)?;
            prepare::pictures(pictures::EMOJI, output)?
        }
    })
}

#[cfg(feature = "parquet")]
fn parquet(
    set: &ParquetArgs,
    output: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> anyhow::Result<Prepared> {
    let set = prepare::ParquetSet {
        paths: &set.paths,
        train: Some(&set.train),
        val: set.val.as_deref(),
        image: set.image.as_deref(),
        label: set.label.as_deref(),
    };
    Ok(prepare::parquet(set, output, progress)?)
}

#[cfg(not(feature = "parquet"))]
fn parquet(
    _set: &ParquetArgs,
    _output: &Path,
    _progress: &mut dyn FnMut(usize, usize),
) -> anyhow::Result<Prepared> {
    anyhow::bail!(
        "this program was built without Parquet: cargo install --path examples/octresnet --features parquet; or write the images to files with Python, as docs/data.md shows"
    )
}

/// Where the recipes look for a CIFAR, by the name of its archive.
fn cifar_folder(archive: &Path) -> PathBuf {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    match name.contains("100") {
        true => "data/cifar100".into(),
        false => "data/cifar10".into(),
    }
}

fn count([classes, images]: [usize; 2]) -> String {
    let [classes, images] = [classes, images].map(|count| thousands(count as u64));
    format!("{images} images of {classes} classes")
}

fn line(output: &Path, part: &PartReport) -> String {
    let folder = output.join(part.split.folder());
    let what = part.counts.map(count);
    let what = what.unwrap_or("there already, left as it is".into());
    format!("{}: {what}", folder.display())
}

fn row(part: &PartReport) -> PartRow {
    PartRow {
        part: part.split.folder(),
        classes: part.counts.map(|[classes, _]| classes),
        images: part.counts.map(|[_, images]| images),
        published: part.published,
    }
}
