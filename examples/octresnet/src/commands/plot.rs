use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use burn_image_folder::shown;
use burn_image_train::{
    History, RunDir, TrainError,
    plot::{Curve, CurvesPicture, Save},
};
use clap::Args;

use crate::output::print;

/// Draws loss, accuracy and learning rate of one or several runs over their epochs.
///
/// Reads the metrics.csv in a run's folder, also while the run is going on.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet plot runs/emoji-1
  octresnet plot runs/emoji-1 runs/emoji-vanilla-1 --output compare.svg --output compare.png

Prints the names of the pictures.")]
pub(crate) struct PlotArgs {
    /// Folders of runs, or metrics.csv files
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Picture to write, .svg or .png; may be given more than once
    #[arg(
        long,
        value_name = "FILE",
        default_values = ["curves.svg", "curves.png"]
    )]
    output: Vec<PathBuf>,
}

pub(super) fn run(arguments: PlotArgs) -> anyhow::Result<ExitCode> {
    let names = names(&arguments.runs);
    let runs = arguments.runs.iter().zip(names);
    let curves = runs.map(|(run, name)| {
        let history = read(run)?;
        Ok(Curve { name, history })
    });
    let picture = CurvesPicture::new(curves.collect::<Result<_, TrainError>>()?)?;
    for path in &arguments.output {
        picture.save(path)?;
    }
    let names = arguments.output.iter().map(|path| shown(path));
    print(&names.collect::<Vec<_>>().join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The epochs of a run that must be there.
fn read(path: &Path) -> Result<History, TrainError> {
    let metrics = match path.is_dir() {
        true => RunDir::at(path).metrics(),
        false => path.to_path_buf(),
    };
    if !metrics.is_file() {
        return Err(TrainError::NoRun {
            path: path.to_path_buf(),
        });
    }
    History::load(metrics)
}

/// What the runs are called: like their folders, or by their whole paths where those are equal.
fn names(runs: &[PathBuf]) -> Vec<String> {
    let short = |run: &PathBuf| {
        let folder = match run.is_dir() {
            true => run.canonicalize().ok(),
            false => run
                .canonicalize()
                .ok()
                .and_then(|file| Some(file.parent()?.to_path_buf())),
        };
        let name = folder.as_deref().and_then(Path::file_name);
        name.map_or(shown(run), |name| shown(name.as_ref()))
    };
    let names: Vec<String> = runs.iter().map(short).collect();
    let different: HashSet<_> = names.iter().collect();
    match different.len() == names.len() {
        true => names,
        false => runs.iter().map(|run| shown(run)).collect(),
    }
}
