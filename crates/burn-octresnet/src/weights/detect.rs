//! Telling a network from the names and shapes of its weights.

use std::ops::RangeInclusive;

use burn_octconv::Cost;

use super::{Checkpoint, WeightsError, nest::Nest};
use crate::model::{Alpha, Arch, LayerCost, OctNetConfig, Shares, Stem};

/// What claims to be wider than this many times the original is no network to be built on a guess.
const WIDEST: f64 = 16.0;

/// The numbers of stages.
const STAGES: RangeInclusive<usize> = 1..=4;

impl Checkpoint {
    /// Finds the registered network whose parameters all are tensors of the checkpoint, and which
    /// has the most.
    ///
    /// Where several values of α cut all channels in the same way, it is a round one.
    ///
    /// # Errors
    ///
    /// [`WeightsError::UnknownNetwork`] if there is none, [`WeightsError::Classifier`] if one lacks
    /// nothing but that, [`WeightsError::Ambiguous`] if there are several.
    pub fn detect(&self) -> Result<OctNetConfig, WeightsError> {
        let found = self.nests().iter();
        let found = found.filter_map(|nest| Some((nest, nest.detect(true)?)));
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            let mut bare = self.nests().iter().filter_map(|nest| nest.detect(false));
            return Err(match bare.next() {
                Some(network) => self.lacks_classifier(&network),
                None => WeightsError::UnknownNetwork {
                    path: self.path().into(),
                    nests: self.nest_names(),
                },
            });
        }
        let (_, config) = self.choose(found, |(nest, _)| nest)?;
        Ok(config)
    }

    /// The network of an architecture that the checkpoint is of, or would be if it were of that
    /// architecture: loading tells what does not fit.
    pub fn detect_as(&self, arch: Arch) -> OctNetConfig {
        let candidates = self.nests().iter().flat_map(|nest| {
            let candidates = nest.candidates(arch).into_iter();
            candidates.map(move |config| (nest, config))
        });
        let candidates: Vec<_> = candidates.collect();
        let fitting = candidates
            .iter()
            .find(|(nest, config)| nest.has(config, true));
        let likely = fitting.or(candidates.first());
        let likely = likely.map(|(_, config)| config.clone());
        likely.unwrap_or_else(|| OctNetConfig::new(arch, arch.num_classes()))
    }
}

impl Nest {
    /// The registered network that this is of, whose classifier may be left out.
    fn detect(&self, classifier: bool) -> Option<OctNetConfig> {
        let candidates = Arch::ALL.into_iter().flat_map(|arch| self.candidates(arch));
        let mut candidates: Vec<_> = candidates.collect();
        // A narrower MobileNet may be another one at its full width.
        candidates.sort_by_key(|config| config.width != 1.0);
        let fitting = candidates.into_iter();
        let fitting = fitting.filter(|config| self.has(config, classifier));
        // The first of the largest.
        fitting.reduce(|largest, config| {
            let larger = params(&config) > params(&largest);
            if larger { config } else { largest }
        })
    }

    /// The outputs of the classifier, if there is one.
    pub(super) fn num_classes(&self) -> Option<usize> {
        let classes = self.shape("fc.bias")?.first().copied()?;
        (classes > 0).then_some(classes)
    }

    /// The network at the α and for the number of classes that this has.
    pub(super) fn as_it_is(&self, config: &OctNetConfig) -> OctNetConfig {
        OctNetConfig {
            alpha: self.alpha(config.arch),
            num_classes: self.num_classes().unwrap_or(config.num_classes),
            ..config.clone()
        }
    }

    /// The configurations of an architecture that the shapes of a few tensors allow.
    fn candidates(&self, arch: Arch) -> Vec<OctNetConfig> {
        let Some([channels, 3, size, _]) = self.shape("conv1.weight").as_deref().and_then(quad)
        else {
            return Vec::new();
        };
        let stem = match (size, arch.is_small()) {
            (3, true) => Stem::Small,
            (3, false) if arch.has_stem(Stem::Small) => Stem::Small,
            _ => Stem::Imagenet,
        };
        let num_classes = self.num_classes().unwrap_or(arch.num_classes());
        if channels == 0 || !arch.has_stem(stem) {
            return Vec::new();
        }
        let mut config = OctNetConfig::new(arch, num_classes);
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
            .map(|width| OctNetConfig {
                width,
                ..config.clone()
            })
            .collect()
    }

    /// The share of low channels in each stage, as its first block leaves with.
    pub(super) fn alpha(&self, arch: Arch) -> Alpha {
        let stages = if arch.is_small() { 2 } else { 3 };
        if (1..=stages).any(|stage| self.groups(stage).is_some()) {
            return self.shares(stages);
        }
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

    /// The shares of each stage of a network in more than two frequencies.
    fn shares(&self, stages: usize) -> Alpha {
        let of_stage = |stage: usize| match self.groups(stage) {
            Some(counts) => round_shares_of(&counts),
            None => round_shares_of(&self.split(stage)),
        };
        let [first, second] = [1, 2].map(of_stage);
        // The third stage of three is the last, and plain, also where all have the same shares.
        let third = match stages {
            2 if first == second => first,
            2 => Shares::PLAIN,
            _ => of_stage(3),
        };
        Alpha::of_shares([first, second, third])
    }

    /// The channels of each frequency inside a stage whose first block has more than two, in or out.
    fn groups(&self, stage: usize) -> Option<Vec<usize>> {
        let count = |level: usize| {
            let shape = self.shape(&format!("layer{stage}.0.bn2.groups.{level}.gamma"))?;
            shape.first().copied()
        };
        let counts: Vec<_> = (0..Shares::MOST).map(count).collect();
        let any = counts.iter().any(Option::is_some);
        any.then(|| counts.into_iter().map(Option::unwrap_or_default).collect())
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

    /// Whether all parameters of the network are here.
    fn has(&self, config: &OctNetConfig, classifier: bool) -> bool {
        let config = &OctNetConfig {
            // A classifier that is left out need not be large.
            num_classes: if classifier { config.num_classes } else { 1 },
            ..config.clone()
        };
        // Most networks have another number of blocks, which is quickly seen. Then counting: no network
        // is built that has more numbers than the file, or other blocks.
        if config.depths() != Some(self.depths()) {
            return false;
        }
        let Ok(layers) = config.layer_costs([32, 32]) else {
            return false;
        };
        let cost: Cost = layers.iter().map(|layer| layer.cost).sum();
        if cost.params > self.count_numbers().saturating_mul(2) || !self.has_blocks(&layers) {
            return false;
        }
        let fit = self.fit(config);
        fit.is_ok_and(|fit| match classifier {
            true => fit.mismatches.is_empty(),
            false => fit.lacks_classifier(),
        })
    }

    /// Blocks of each stage, by the last one that has a kernel.
    fn depths(&self) -> Vec<usize> {
        let mut depths = Vec::new();
        let kernels = self
            .tensors
            .iter()
            .filter(|(_, tensor)| tensor.shape.num_dims() > 1);
        for (name, _) in kernels {
            let Some((stage, block)) = place(name) else {
                continue;
            };
            if depths.len() < stage {
                depths.resize(stage, 0);
            }
            depths[stage - 1] = depths[stage - 1].max(block.saturating_add(1));
        }
        depths
    }

    /// Whether there is a kernel for each convolution of the stages.
    fn has_blocks(&self, layers: &[LayerCost]) -> bool {
        let mut convs = layers.iter().filter(|layer| {
            let name = layer.name.rsplit('.').next().unwrap_or_default();
            layer.name.starts_with("layer") && name.starts_with("conv")
        });
        convs.all(|conv| {
            let kernels = ["h2h", "l2l", "h2l", "l2h", "weight", "kernels.0"];
            let mut paths = kernels
                .map(|kernel| format!("{}.{kernel}", conv.name))
                .into_iter();
            paths.any(|path| self.tensors.contains_key(&self.layout.name(&path)))
        })
    }
}

/// Stage and block of a tensor, if it is in one: (2, 0) of `layer2.0.conv1.weight`.
fn place(name: &str) -> Option<(usize, usize)> {
    let (stage, rest) = name.strip_prefix("layer")?.split_once('.')?;
    let (block, _) = rest.split_once('.')?;
    let stage = stage.parse().ok().filter(|stage| STAGES.contains(stage))?;
    Some((stage, block.parse().ok()?))
}

/// Shares that split the sum of the channels so, round ones where there are any.
fn round_shares_of(counts: &[usize]) -> Shares {
    let total = counts
        .iter()
        .fold(0usize, |sum, &c| sum.saturating_add(c))
        .max(1);
    let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let mut shares = [0.0; Shares::MOST];
    let levels = shares.iter_mut().zip(counts).enumerate();
    for (_, (share, &count)) in levels.filter(|(level, _)| *level > first) {
        let mut round = round_shares().filter(|&share| (share * total as f64) as usize == count);
        // A group of no channels has no share; else the middle of those that cut so.
        *share = match count {
            0 => 0.0,
            _ => round.next().unwrap_or((count as f64 + 0.5) / total as f64),
        };
    }
    shares[first] = 1.0 - shares.iter().sum::<f64>();
    Shares::of(&shares).unwrap_or(Shares::PLAIN)
}

/// The number of trained parameters.
fn params(config: &OctNetConfig) -> Option<u64> {
    config.cost([32, 32]).ok().map(|cost| cost.params)
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
