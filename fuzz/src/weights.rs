//! Files as weights.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::Device;
use burn_octresnet::{
    model::{Alpha, Arch, OctNetConfig, Shares},
    weights::Checkpoint,
};

use crate::{
    paths, sets,
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
    seeds.extend(["tiny.bpk", "tiny.safetensors"].map(|name| saved(&TINY, name)));
    let mut config = OctNetConfig::new(Arch::OctResNet20, 3);
    config.width = 0.25;
    let shares = Shares::of(&[0.5, 0.25, 0.25]).expect("there are three");
    config.alpha = Alpha::of_shares([shares, shares, Shares::PLAIN]);
    seeds.push(saved(&config, "frequencies.bpk"));
    seeds.push(safetensors());
    seeds.push(tar());
    seeds
}

/// The file that this project writes of a network.
fn saved(config: &OctNetConfig, name: &str) -> Vec<u8> {
    let path = paths::scratch().join(name);
    let model = config.init(&Device::flex());
    model
        .save_weights(config, &path, false)
        .expect("weights can be written");
    fs::read(path).expect("they can be read")
}

/// The oldest kind of PyTorch's files, with one tensor of two numbers.
fn tar() -> Vec<u8> {
    const ONE: &[u8] = b"\x80\x02K\x01.";
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let [length, layout]: [Vec<u8>; 2] = [words(&[2]), words(&[1, 2, 1, 0])];
    let storage = b"\x80\x02U\x010U\x03cpuctorch\nFloatStorage\n\x87.";
    let tensor = b"\x80\x02U\x011U\x010ctorch\nFloatTensor\n\x87.";
    sets::archive(&[
        ("sys_info", b"\x80\x02}U\x0dlittle_endian\x88s."),
        (
            "storages",
            &[ONE, storage, &length, &[0; 8], b"\x80\x02]."].concat(),
        ),
        ("tensors", &[ONE, tensor, &layout].concat()),
        ("pickle", b"\x80\x02}U\x07fc.biasU\x011Qs."),
    ])
}

/// A safetensors file of a few bytes, which are damaged in more places than a long one's.
fn safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"conv1.weight":{"dtype":"F32","shape":[1,3,1,1],"data_offsets":[0,12]},"fc.bias":{"dtype":"F16","shape":[2],"data_offsets":[12,16]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &[0; 16]].concat()
}

static TINY: LazyLock<OctNetConfig> = LazyLock::new(|| {
    let mut config = OctNetConfig::new(Arch::OctResNet20, 3);
    config.width = 0.125;
    config
});

fn run(bytes: &[u8]) -> bool {
    let path = paths::scratch().join("weights");
    let mut bytes = bytes.to_vec();
    sets::with_checksums(&mut bytes);
    fs::write(&path, bytes).expect("the file can be written");
    open(&path)
}

/// Opens a file as weights, finds out of which network they are, and builds it; if that is not known,
/// starts a small one from them.
pub(crate) fn open(path: &Path) -> bool {
    let checkpoint = match Checkpoint::open(path) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            check_message(&error);
            return false;
        }
    };
    let device = Device::flex();
    let read = match checkpoint.detect() {
        Ok(config) => checkpoint.load(&config, &device),
        Err(error) => {
            check_message(&error);
            checkpoint.start(&TINY, &device).map(|(model, _)| model)
        }
    };
    match read {
        Ok(_) => true,
        Err(error) => {
            check_message(&error);
            false
        }
    }
}
