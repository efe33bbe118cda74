use std::{path::PathBuf, process::ExitCode};

use burn_image_folder::shown;
use burn_image_train::{DeviceName, Report, RunDir};
use clap::Args;

use crate::{
    network::ModelRecipe,
    output::{print, progress},
};

/// Writes a page about a run into its folder: report.md.
///
/// Best and last epoch, cost beside the vanilla network, curves, accuracy of each class, confusion
/// matrix, all epochs, recipe. `train` does it at its end; this does it again, or for a run that
/// was stopped. The best weights are shown the images that the run validated on.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet report runs/emoji-1
  octresnet report runs/emoji-1 --data my/pictures

Prints the name of the page. Pictures and the table of all classes are in report/ beside it.")]
pub(crate) struct ReportArgs {
    /// Folder of a run
    run: PathBuf,
    /// Folder of images: DIR/val/CLASS/... or DIR/CLASS/... [default: what the run validated on]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to compute: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceName::Auto)]
    device: DeviceName,
}

pub(super) fn run(arguments: ReportArgs) -> anyhow::Result<ExitCode> {
    let device = arguments.device.open()?;
    let run = RunDir::at(arguments.run);
    let report =
        Report::<ModelRecipe>::measure(run, arguments.data.as_deref(), &device, progress())?;
    print(&shown(&report.write()?))?;
    Ok(ExitCode::SUCCESS)
}
