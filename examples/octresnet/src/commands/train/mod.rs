mod messages;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::anyhow;
use burn::train::Interrupter;
use burn_image_train::{
    Devices, OnNan, Outcome, PlainProgress, Plan, Precision, Report, RunDir, Strategy, TrainError,
    Training,
};
use clap::Args;

use messages::{describe, say, warn_of_memory};

use crate::{
    cli::{ModelArgs, WeightsArgs},
    logging,
    network::{ModelRecipe, Recipe, default_run},
    output::progress,
    recipes,
    terminal::{self, Tui},
};

/// Trains a network.
///
/// A recipe, a JSON file, decides a run; flags override it. The run writes into one folder:
/// config.json (the recipe, complete), classes.json, metrics.csv and metrics.jsonl (a row per epoch),
/// best.bpk and last.bpk (weights after the best and the last epoch), checkpoint/ (what --resume
/// needs), tensorboard/ (with --log tensorboard) and, at the end, report.md (the results, with
/// pictures). One process at a time may train in a folder.
#[derive(Debug, Args)]
#[command(after_help = "\
Images lie in DIR/train/CLASS/... and DIR/val/CLASS/..., or in DIR/CLASS/..., of which a share is
kept for validation. For pictures of 224 pixels:

  octresnet train --data DIR --arch oct-resnet-50 --width 1 --size 224

--init fine-tunes a .pth, .pt, .safetensors or .bpk file, or the network of another run:

  octresnet train --data DIR --init resnet50.pth --arch oct-resnet-50 --alpha 0.25 --width 1

Ctrl-C and SIGTERM stop after the step at hand and save it. --resume then goes on with the next
step; after a crash or a power cut, with the one after the last checkpoint, of which there is one
per epoch and, with --checkpoint-every, one every N steps:

  octresnet train --resume                   the newest run of this name
  octresnet train --resume --output DIR      the run in DIR
  octresnet train --resume --epochs 50       longer than it was meant to be

Several devices share each batch, of one machine or of several (octresnet serve --help):

  octresnet train --device cuda:0,cuda:1
  octresnet train --device flex,flex         tries out what that would do

The same seed gives the same order of images and the same augmentation for any --workers and
after any --resume; on the device flex, also the same weights to the last bit.")]
pub(crate) struct TrainArgs {
    /// Recipe to start from, a file or a name of `octresnet recipes`; what it leaves out is as in the
    /// default run
    #[arg(long, value_name = "NAME|FILE.json")]
    config: Option<PathBuf>,
    /// Folder of images
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Start from the weights of a checkpoint or run, also of another alpha or with other classes
    #[arg(long, value_name = "CHECKPOINT")]
    init: Option<PathBuf>,
    #[command(flatten)]
    weights: WeightsArgs,
    /// Height and width in pixels that images are brought to
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// How often every image is seen
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Floats of the forward and the backward pass; weights and norms stay in f32
    #[arg(long, value_name = "f32|bf16|f16")]
    precision: Option<Precision>,
    /// Where to compute: auto, or devices such as flex, cuda:1 or cuda:0,cuda:1
    ///
    /// Several devices share each batch. A device that `octresnet serve` lends on another machine
    /// is remote:ws://HOST:PORT, in a build with the feature remote.
    #[arg(long, value_name = "DEVICE[,..]")]
    device: Option<Devices>,
    /// How several devices train together: multi (any devices) or ddp (CUDA)
    #[arg(long, value_name = "multi|ddp")]
    strategy: Option<Strategy>,
    /// Threads that read and prepare images
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Decides first weights, order of images, augmentation and split
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder of the run [default: a new one under runs]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Steps between two checkpoints [default: one at the end of each epoch]
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<usize>,
    /// What to do about a loss that is NaN or infinite: end the run, or leave out the batch
    #[arg(long, value_name = "stop|skip", value_parser = parse_on_nan)]
    on_nan: Option<OnNan>,
    /// Go on with the run in --output, or with the newest
    #[arg(long)]
    resume: bool,
    /// With --resume: go on even if the images have changed
    #[arg(long, requires = "resume")]
    allow_changed_data: bool,
    /// Also write logs for TensorBoard, into the run's folder; a resumed run goes on with them
    #[arg(long, value_name = "tensorboard", value_parser = ["tensorboard"])]
    log: Option<String>,
    /// Plain lines of text, also on a terminal
    #[arg(long)]
    plain: bool,
}

pub(super) fn run(arguments: TrainArgs) -> anyhow::Result<ExitCode> {
    let mut training = prepare(&arguments)?;
    // The only kind there is.
    if arguments.log.is_some() {
        training = training.with_tensorboard();
    }
    let plan = training.plan()?;
    describe(&plan, arguments.resume);
    warn_of_memory(&training, &plan);
    let drawn = !arguments.plain && terminal::is_there();
    let interrupter = Interrupter::new();
    terminal::stop_on_signal(&interrupter, drawn)?;
    let start = Instant::now();
    let wait = training.wait();
    let outcome = if drawn {
        logging::redirect(Some(plan.run.log()));
        let epoch = plan.epochs[0] - 1;
        let (tui, renderer) = Tui::start(&interrupter, (epoch > 0).then_some(epoch));
        let outcome = training.run(renderer, interrupter);
        drop(tui);
        logging::redirect(None);
        outcome?
    } else {
        // A checkpoint after an epoch's last step goes on with the next epoch's first.
        let step = plan.step % plan.steps.max(1);
        let lines = PlainProgress::stderr(plan.steps, wait).after_step(step);
        training.run(Box::new(lines), interrupter)?
    };
    let page = write_report(&outcome, &plan);
    say(&outcome, &plan, start, page.as_deref());
    Ok(ExitCode::SUCCESS)
}

/// The run that the flags ask for.
fn prepare(arguments: &TrainArgs) -> anyhow::Result<Training<ModelRecipe>> {
    let mut recipe = match &arguments.config {
        Some(path) => recipes::load(path)?,
        None => default_run(),
    };
    arguments.apply(&mut recipe);
    let name = run_name(arguments.config.as_deref(), &recipe);
    if !arguments.resume {
        return Training::start(recipe, &name).map_err(hint_of_bundled_images);
    }
    let run = match &recipe.output {
        Some(folder) => RunDir::at(folder),
        None => Training::<ModelRecipe>::newest_run(&name)?,
    };
    if arguments.config.is_none() && run.config().exists() {
        recipe = Recipe::load(run.config())?;
        arguments.apply(&mut recipe);
    }
    Ok(match arguments.allow_changed_data {
        true => Training::resume_with_changed_data(recipe, run)?,
        false => Training::resume(recipe, run)?,
    })
}

impl TrainArgs {
    /// Puts the flags that were given over a recipe. What it says of itself goes where they make
    /// another run of it.
    fn apply(&self, recipe: &mut Recipe) {
        let before = recipe.clone();
        self.set(recipe);
        if !self.resume {
            recipe.forget_texts_of(&before);
        }
    }

    fn set(&self, recipe: &mut Recipe) {
        self.model.apply(&mut recipe.model);
        if let Some(size) = self.size {
            recipe.data.set_size(size);
        }
        if let Some(lr) = self.lr {
            recipe.optimizer.set_lr(lr);
        }
        if let Some(data) = &self.data {
            recipe.data.path.clone_from(data);
        }
        if self.init.is_some() {
            recipe.init.clone_from(&self.init);
        }
        if self.weights.key.is_some() {
            recipe.init_key.clone_from(&self.weights.key);
        }
        recipe.init_allow_nan |= self.weights.allow_nan;
        if self.output.is_some() {
            recipe.output.clone_from(&self.output);
        }
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.checkpoint_every = self.checkpoint_every.or(recipe.checkpoint_every);
        recipe.precision = self.precision.unwrap_or(recipe.precision);
        recipe.on_nan = self.on_nan.unwrap_or(recipe.on_nan);
        recipe.data.batch_size = self.batch_size.unwrap_or(recipe.data.batch_size);
        recipe.data.workers = self.workers.unwrap_or(recipe.data.workers);
        if let Some(devices) = &self.device {
            recipe.device.clone_from(devices);
        }
        recipe.strategy = self.strategy.unwrap_or(recipe.strategy);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
    }
}

fn parse_on_nan(text: &str) -> Result<OnNan, String> {
    match text {
        "stop" => Ok(OnNan::Stop),
        "skip" => Ok(OnNan::Skip),
        _ => Err("use stop or skip".into()),
    }
}

/// Says where the bundled images are to be had where they are meant and missing: the program may be
/// installed, far from a clone of the repository.
fn hint_of_bundled_images(error: TrainError) -> anyhow::Error {
    match error {
        TrainError::NoData { path } if path == recipes::bundled_images() => anyhow!(
            "the bundled pictures are not here: `octresnet prepare emoji` writes them to `{}`; or give your own with --data",
            path.display()
        ),
        error => error.into(),
    }
}

/// What a run is called whose folder has no name: after its recipe, or else after its images.
fn run_name(config: Option<&Path>, recipe: &Recipe) -> String {
    let text =
        |name: Option<&std::ffi::OsStr>| name.and_then(|name| name.to_str()).map(str::to_string);
    let name = match config {
        // The recipe of another run: the name of that run, without its number.
        Some(path) if path.file_name().is_some_and(|name| name == "config.json") => {
            text(path.parent().and_then(Path::file_name)).map(|name| {
                let number = name
                    .rsplit_once('-')
                    .filter(|(_, n)| n.parse::<usize>().is_ok());
                number.map_or(name.clone(), |(name, _)| name.to_string())
            })
        }
        Some(path) => text(path.file_stem()),
        None => text(recipe.data.path.file_name()),
    };
    name.unwrap_or_else(|| "run".into())
}

/// Writes the page about a run that has come to its end. That it cannot be written is no reason to
/// fail: the run is done.
fn write_report(outcome: &Outcome, plan: &Plan<ModelRecipe>) -> Option<PathBuf> {
    if outcome.interrupted() || plan.epochs[0] > outcome.epochs[1] {
        return None;
    }
    let write = || -> anyhow::Result<PathBuf> {
        let device = plan.devices.first().open()?;
        let report =
            Report::<ModelRecipe>::measure(outcome.run.clone(), None, &device, progress())?;
        Ok(report.write()?)
    };
    let page = write();
    page.inspect_err(|error| log::warn!("no report: {error:#}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_after_recipe_or_images() {
        let recipe = Recipe::default();
        let name = |config: Option<&str>| run_name(config.map(Path::new), &recipe);
        assert_eq!(name(None), "emoji");
        assert_eq!(name(Some("configs/emoji-vanilla.json")), "emoji-vanilla");
        assert_eq!(
            name(Some("runs/emoji-vanilla-12/config.json")),
            "emoji-vanilla"
        );
        assert_eq!(name(Some("config.json")), "run");
    }
}
