//! Networks of every architecture whose every number is decided here, so that other programs can be
//! asked for their logits once and for all: `fixtures/make_logits.py` does.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use burn::{
    store::{ModuleSnapshot, bridge},
    tensor::{Device, Tensor, TensorData},
};
use burn_octresnet::model::{Alpha, Arch, OctNet, OctNetConfig};

/// A network and the size of the images that it is shown.
pub struct Example {
    pub config: OctNetConfig,
    pub size: [usize; 2],
}

/// Every architecture, vanilla and octave, for an even and an odd size; as narrow as 32 groups let
/// it be.
pub fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for arch in Arch::ALL {
        let sizes = match arch.is_small() {
            true => [[32, 32], [19, 27]],
            false => [[64, 64], [45, 51]],
        };
        for alpha in [0.0, 0.5] {
            for size in sizes {
                let mut config = OctNetConfig::new(arch, 7);
                config.alpha = Alpha::Uniform(alpha);
                let next = arch.name().contains("resnext");
                config.width = if next { 0.5 } else { 0.125 };
                examples.push(Example { config, size });
            }
        }
    }
    examples
}

impl Example {
    /// Names the example and its files.
    pub fn name(&self) -> String {
        let OctNetConfig { arch, alpha, .. } = &self.config;
        let [height, width] = self.size;
        format!("{arch}_{alpha}_{height}x{width}")
    }

    /// The network, as if trained: no norm is the identity, and no map grows out of range.
    pub fn model(&self) -> OctNet {
        let mut model = self.config.init(&Device::flex());
        let tensors = model.collect(None, None, true).into_iter().map(|tensor| {
            let (name, shape) = (tensor.name.clone(), tensor.shape.to_vec());
            let mut values = noise(&name, shape.iter().product());
            let (scale, offset) = range(&name, &shape);
            values.iter_mut().for_each(|x| *x = *x * scale + offset);
            bridge::from_data(TensorData::new(values, shape), name, None)
        });
        let tensors = tensors.collect();
        let applied = model.apply(tensors, None, None, true);
        assert!(
            applied.missing.is_empty() && applied.errors.is_empty(),
            "{applied}"
        );
        model
    }

    /// Two images.
    pub fn images(&self) -> Tensor<4> {
        let [height, width] = self.size;
        let shape = [2, 3, height, width];
        let mut values = noise("images", shape.iter().product());
        values.iter_mut().for_each(|x| *x *= 2.0);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }
}

/// Half the width and the middle of the range that a parameter's values are in.
fn range(name: &str, shape: &[usize]) -> (f32, f32) {
    match *shape {
        // What ends a residual block's convolutions is scaled down, for blocks add up.
        [_, input, height, width] => {
            let last = if name.contains("conv3") { 0.5 } else { 1.0 };
            (last * (6.0 / (input * height * width) as f32).sqrt(), 0.0)
        }
        [input, _] => ((3.0 / input as f32).sqrt(), 0.0),
        _ if name.ends_with("running_var") => (0.5, 1.0),
        _ if name.ends_with("gamma") && name.contains("bn3") => (0.2, 0.4),
        _ if name.ends_with("gamma") => (0.4, 0.9),
        _ => (0.2, 0.0),
    }
}

/// Numbers in [−1, 1) that depend on nothing but the name and the place (SplitMix64, seeded by the
/// name's FNV-1a hash).
fn noise(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let number = |index: u64| {
        let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper 24 bits are what an f32 holds.
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count as u64).map(number).collect()
}

/// Where to leave files for `fixtures/make_logits.py`, if anywhere.
pub fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("OCTRESNET_EXAMPLES")?);
    fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

/// Logits that another program computed, by the name of the example.
pub fn logits(program: &str) -> BTreeMap<String, Vec<f64>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logits");
    let text = fs::read_to_string(folder.join(format!("{program}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The largest difference from the expected logits, relative to the largest of those.
pub fn difference(logits: Tensor<2>, expected: &[f64]) -> f64 {
    let logits: Vec<f64> = logits.into_data().iter().collect();
    assert_eq!(logits.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |a, b| b.abs().max(a));
    let off = largest(&mut logits.iter().zip(expected).map(|(a, b)| a - b));
    off / largest(&mut expected.iter().copied())
}
