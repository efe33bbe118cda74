//! Texts as the state of a run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
    train::Interrupter,
};
use burn_image_train::{
    Classifier, NetworkError, Outcome, PlainProgress, Recipe, RunDir, TrainError, Training,
};
use serde::{Deserialize, Serialize};

use crate::{
    paths,
    target::{Target, check_message},
};

/// The `state.json` of a checkpoint: the run is refused, or goes on to its end.
pub const TARGET: Target = Target {
    name: "state",
    dictionary: "state",
    run,
    seeds,
    memory: 256 << 20,
};

/// A classifier over the mean colour.
#[derive(Module, Debug)]
struct Colours {
    fc: Linear,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ColoursConfig {}

impl Classifier for ColoursConfig {
    type Network = Colours;

    fn init(&self, classes: usize, device: &Device) -> Result<Colours, NetworkError> {
        Ok(Colours {
            fc: LinearConfig::new(3, classes).init(device),
        })
    }

    fn features(_: &Colours, images: Tensor<4>) -> Tensor<2> {
        images.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    fn classify(network: &Colours, features: Tensor<2>) -> Tensor<2> {
        network.fc.forward(features)
    }
}

/// A run that was stopped in its second of three epochs, file by file.
struct Stopped {
    recipe: Recipe<ColoursConfig>,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// The place of the state among the files.
    state: usize,
}

static STOPPED: LazyLock<Stopped> = LazyLock::new(|| {
    let images = paths::scratch().join("images");
    for (class, colour) in [("a", 0), ("b", 200)] {
        let folder = images.join(class);
        fs::create_dir_all(&folder).expect("the folder can be made");
        for number in 0..3 {
            let picture = [&b"P6 1 1 255\n"[..], &[colour, number, 0]].concat();
            fs::write(folder.join(format!("{number}.ppm")), picture).expect("it can be written");
        }
    }
    let root = paths::scratch().join("run");
    let mut recipe = Recipe::<ColoursConfig>::default();
    recipe.data.path = images;
    recipe.data.batch_size = 2;
    recipe.data.workers = 0;
    recipe.data.set_size(4);
    recipe.output = Some(root.clone());
    recipe.epochs = 1;
    recipe.checkpoint_every = Some(1);
    let training = Training::start(recipe.clone(), "state").expect("the run can start");
    finish(training).expect("it can be run");
    recipe.epochs = 3;

    let mut files = Vec::new();
    collect(&root, &mut files);
    // One checkpoint, so that no other is gone back to.
    let newest = files
        .iter()
        .filter(|(path, _)| path.ends_with("state.json"))
        .map(|(path, _)| path);
    let newest = newest.max().expect("there is a checkpoint").clone();
    let folder = newest.parent().expect("it is in a folder").to_path_buf();
    files.retain(|(path, _)| {
        path.starts_with(&folder) || !path.starts_with(root.join("checkpoint"))
    });
    let state = files
        .iter()
        .position(|(path, _)| *path == newest)
        .expect("it was kept");
    Stopped {
        recipe,
        files,
        state,
    }
});

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("it can be listed").path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push((path.clone(), fs::read(&path).expect("it can be read"))),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let Stopped { files, state, .. } = &*STOPPED;
    let sealed = String::from_utf8(files[*state].1.clone()).expect("it is JSON");
    // As runs of earlier versions have it, without the checksum, which would notice every change.
    let (before, _) = sealed
        .rsplit_once(',')
        .expect("the checksum is the last entry");
    let open = format!("{before}\n}}");
    let trained = open.replace("\"trained\": false", "\"trained\": true");
    let ancient = open.replace("\"epoch\": 2", "\"epoch\": 0");
    let foreign = open.replace("model.bpk", "/dev/zero");
    [sealed, open, trained, ancient, foreign]
        .map(String::into_bytes)
        .into()
}

/// Whether the run's folder is no longer as it was left.
static CHANGED: AtomicBool = AtomicBool::new(true);

/// Makes the folder anew.
fn lay(root: &Path, files: &[(PathBuf, Vec<u8>)]) {
    fs::remove_dir_all(root).expect("the folder can be removed");
    for (path, content) in files {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(path, content).expect("the file can be written");
    }
}

fn run(text: &[u8]) -> bool {
    let Stopped {
        recipe,
        files,
        state,
    } = &*STOPPED;
    let root = recipe.output.clone().expect("the recipe names its folder");
    // A state that is refused changes nothing else.
    if CHANGED.swap(false, Relaxed) {
        lay(&root, files);
    }
    fs::write(&files[*state].0, text).expect("the file can be written");
    let resumed = Training::resume_with_changed_data(recipe.clone(), RunDir::at(root));
    CHANGED.store(resumed.is_ok(), Relaxed);
    match resumed.and_then(finish) {
        Ok(outcome) => {
            let [done, wanted] = outcome.epochs;
            // More, where the state is of a longer run.
            assert!(
                (wanted..=u32::MAX as usize).contains(&done),
                "{done} of {wanted} epochs"
            );
            true
        }
        Err(error) => {
            check_message(&error);
            false
        }
    }
}

fn finish(training: Training<ColoursConfig>) -> Result<Outcome, TrainError> {
    let plan = training.plan()?;
    let progress = PlainProgress::new(io::sink(), plan.steps, training.wait());
    training.run(Box::new(progress), Interrupter::new())
}
