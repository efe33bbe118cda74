//! Files as weights.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::Device;
use burn_octresnet::{
    model::{Arch, OctNetConfig},
    weights::Checkpoint,
};

use crate::{
    paths,
    target::{Target, check_message},
};

/// A file of weights: an archive or an old pickle of PyTorch, safetensors, or burnpack.
pub const TARGET: Target = Target {
    name: "weights",
    dictionary: "weights",
    run,
    seeds,
    memory: 512 << 20,
};

const FIXTURES: &str = "crates/burn-octresnet/tests/fixtures";

fn seeds() -> Vec<Vec<u8>> {
    const NETWORKS: [&str; 4] = [
        "vanilla.pth",
        "vanilla-half.pt",
        "vanilla-old.pth",
        "vanilla.safetensors",
    ];
    const SMALL: [&str; 5] = [
        "big-endian.pth",
        "command.pth",
        "command.pkl",
        "escape.pth",
        "expand.pth",
    ];
    let mut seeds = paths::contents(&format!("{FIXTURES}/weights"), |name| {
        NETWORKS.contains(&name)
    });
    seeds.extend(paths::contents(&format!("{FIXTURES}/hostile"), |name| {
        SMALL.contains(&name)
    }));
    let (config, model) = &*TINY;
    for name in ["tiny.bpk", "tiny.safetensors"] {
        let path = paths::scratch().join(name);
        model
            .save_weights(config, &path, false)
            .expect("weights can be written");
        seeds.push(fs::read(path).expect("they can be read"));
    }
    seeds.push(safetensors());
    seeds
}

/// A safetensors file of a few bytes, which are damaged in more places than a long one's.
fn safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"conv1.weight":{"dtype":"F32","shape":[1,3,1,1],"data_offsets":[0,12]},"fc.bias":{"dtype":"F16","shape":[2],"data_offsets":[12,16]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &[0; 16]].concat()
}

static TINY: LazyLock<(OctNetConfig, burn_octresnet::model::OctNet)> = LazyLock::new(|| {
    let mut config = OctNetConfig::new(Arch::OctResNet20, 3);
    config.width = 0.125;
    let model = config.init(&Device::flex());
    (config, model)
});

fn run(bytes: &[u8]) -> bool {
    let path = paths::scratch().join("weights");
    fs::write(&path, bytes).expect("the file can be written");
    open(&path)
}

/// Opens a file as weights, finds out of which network they are, and builds it; another if none.
pub(crate) fn open(path: &Path) -> bool {
    let checkpoint = match Checkpoint::open(path) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            check_message(&error);
            return false;
        }
    };
    let detected = checkpoint.detect();
    let config = detected.as_ref().unwrap_or(&TINY.0);
    match checkpoint.load(config, &Device::flex()) {
        Ok(_) => true,
        Err(error) => {
            check_message(&error);
            false
        }
    }
}
