//! Telling a network from the names and shapes of its weights.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::{Checkpoint, WeightsError, parameters};
use crate::model::{Alpha, Arch, OctResNetConfig, Stem};

/// What claims to be wider than this many times the original is no network to be built on a guess.
const WIDEST: f64 = 16.0;

impl Checkpoint {
    /// Finds the registered network whose parameters have exactly the names and shapes of the
    /// checkpoint's tensors.
    ///
    /// Where several values of α cut all channels in the same way, it is a round one.
    ///
    /// # Errors
    ///
    /// [`WeightsError::UnknownNetwork`] if there is none.
    pub fn detect(&self) -> Result<OctResNetConfig, WeightsError> {
        let candidates = Arch::ALL.into_iter().flat_map(|arch| self.candidates(arch));
        let mut candidates: Vec<_> = candidates.collect();
        // A narrower MobileNet may be another one at its full width.
        candidates.sort_by_key(|config| config.width != 1.0);
        (candidates.into_iter())
            .find(|config| self.fits(config))
            .ok_or_else(|| WeightsError::UnknownNetwork {
                path: self.path().into(),
            })
    }

    /// The network of an architecture that the checkpoint is of, or would be if it were of that
    /// architecture: loading tells what does not fit.
    pub fn detect_as(&self, arch: Arch) -> OctResNetConfig {
        let candidates = self.candidates(arch);
        let fitting = candidates.iter().find(|config| self.fits(config));
        let likely = fitting.or(candidates.first()).cloned();
        likely.unwrap_or_else(|| {
            OctResNetConfig::new(arch, self.num_classes().unwrap_or(arch.num_classes()))
        })
    }

    /// The outputs of the classifier, if there is one.
    pub(super) fn num_classes(&self) -> Option<usize> {
        let classes = self.shape("fc.bias")?.first().copied()?;
        (classes > 0).then_some(classes)
    }

    /// The configurations of an architecture that the shapes of a few tensors allow.
    fn candidates(&self, arch: Arch) -> Vec<OctResNetConfig> {
        let Some([channels, 3, size, _]) = self.shape("conv1.weight").as_deref().and_then(quad)
        else {
            return Vec::new();
        };
        let stem = match (size, arch.is_small()) {
            (3, true) => Stem::Small,
            (3, false) if arch.has_stem(Stem::Small) => Stem::Small,
            _ => Stem::Imagenet,
        };
        let Some(num_classes) = self.num_classes() else {
            return Vec::new();
        };
        if channels == 0 || !arch.has_stem(stem) {
            return Vec::new();
        }
        let mut config = OctResNetConfig::new(arch, num_classes);
        config.stem = stem;
        config.alpha = self.alpha(arch);
        let Some(base) = config.stem_channels() else {
            return Vec::new();
        };
        // The rounding of channel counts may hide the width; round numbers come first.
        let exact = channels as f64 / base as f64;
        let round = (exact * 16.0).round() / 16.0;
        let mut widths = vec![round, exact, (exact * 100.0).round() / 100.0];
        let fits = |scaled: f64| {
            [scaled.round(), scaled.floor()]
                .map(|c| c as usize)
                .contains(&channels)
        };
        widths.retain(|&width| width <= WIDEST && fits(base as f64 * width));
        widths.dedup();
        (widths.into_iter())
            .map(|width| OctResNetConfig {
                width,
                ..config.clone()
            })
            .collect()
    }

    /// The share of low channels in each stage, as its first block leaves with.
    pub(super) fn alpha(&self, arch: Arch) -> Alpha {
        let stages = if arch.is_small() { 2 } else { 3 };
        let splits: Vec<_> = (1..=stages).map(|stage| self.split(stage)).collect();
        let one_for_all =
            round_shares().find(|&alpha| splits.iter().all(|&[high, low]| cuts(alpha, high, low)));
        if let Some(alpha) = one_for_all {
            return Alpha::Uniform(alpha);
        }
        let mut shares = [0.0; 3];
        for (share, &[high, low]) in shares.iter_mut().zip(&splits) {
            let mut round = round_shares().filter(|&alpha| cuts(alpha, high, low));
            // The middle of the shares that cut so.
            let middle = (low as f64 + 0.5) / (high + low).max(1) as f64;
            *share = round.next().unwrap_or(middle.min(1.0));
        }
        match shares {
            [a, b, c] if a == b && (stages == 2 || b == c) => Alpha::Uniform(a),
            shares => Alpha::PerStage(shares),
        }
    }

    /// High and low output channels of the widest of a stage's first convolutions.
    fn split(&self, stage: usize) -> [usize; 2] {
        let rows = |conv: usize, kernels: [&str; 2]| {
            let kernels = kernels.map(|kernel| format!("layer{stage}.0.conv{conv}.{kernel}"));
            let shapes = kernels.iter().filter_map(|path| self.shape(path));
            shapes.filter_map(|shape| shape.first().copied()).next()
        };
        let split = |conv| {
            let high = rows(conv, ["h2h", "l2h"]).unwrap_or(0);
            let low = rows(conv, ["l2l", "h2l"]).unwrap_or(0);
            [high, low]
        };
        let splits = [split(1), split(2)].into_iter();
        let widest = splits.max_by_key(|[high, low]| high.saturating_add(*low));
        widest.unwrap_or_default()
    }

    /// Whether names and shapes are those of the network.
    fn fits(&self, config: &OctResNetConfig) -> bool {
        // Counting first: no network is built for a file that cannot be its.
        if !(config.cost([32, 32])).is_ok_and(|cost| cost.params == self.count_parameters()) {
            return false;
        }
        let Ok(model) = config.try_init(&Device::default()) else {
            return false;
        };
        let parameters: BTreeMap<_, _> = parameters(&model).into_iter().collect();
        let fits = |(path, shape): (&String, &Vec<usize>)| self.shape(path).as_ref() == Some(shape);
        parameters.len() == self.count() && parameters.iter().all(fits)
    }
}

fn quad(shape: &[usize]) -> Option<[usize; 4]> {
    shape.try_into().ok()
}

/// Sixteenths, then tenths, then hundredths.
fn round_shares() -> impl Iterator<Item = f64> {
    let parts = |whole: u32| (0..=whole).map(move |part| f64::from(part) / f64::from(whole));
    parts(16).chain(parts(10)).chain(parts(100))
}

/// Whether the share cuts the channels so.
fn cuts(alpha: f64, high: usize, low: usize) -> bool {
    let channels = high.saturating_add(low);
    (alpha * channels as f64) as usize == low
}
