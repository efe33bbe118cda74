//! What the steps of a network are, and how long each takes.

use std::{
    iter,
    time::{Duration, Instant},
};

use burn::tensor::Tensor;

use super::{
    builder::{Op, Size},
    network::Network,
};
use octave_engine::conv::PackedWeights;

/// One step of a network: operations that run together.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTime {
    /// Its operations, such as `3x3x64 + up 3x3x64 -> 64, 56x56`: what is summed, each with kernel
    /// size and input channels, `up` where it comes from half the resolution; then the output's
    /// channels, height and width.
    pub name: String,
    /// Multiply–adds of the whole batch. Pooling, norms and activations count as none.
    pub macs: u64,
    /// Wall-clock time.
    pub time: Duration,
}

impl Network {
    /// Computes the logits as [`forward`](Self::forward) does and measures every step; the last is
    /// the global pooling with the classifier.
    pub fn forward_timed(&self, images: &Tensor<4>) -> Option<(Tensor<2>, Vec<StepTime>)> {
        let [n, _, h, w] = images.dims();
        let mut boundaries = Vec::with_capacity(self.schedule.steps.len() + 2);
        let logits = self.forward_and(images, || boundaries.push(Instant::now()))?;
        let times = boundaries.windows(2).map(|pair| pair[1] - pair[0]);

        let sizes = self.sizes([h, w])?;
        let steps = self.schedule.steps.iter().map(|ops| {
            let (names, macs): (Vec<_>, Vec<_>) =
                ops.iter().map(|op| self.describe(op, &sizes)).unzip();
            (names.join(" | "), macs.iter().sum())
        });
        let features = self.classifier.shapes()[0].c_in;
        let classes = self.classifier.c_out();
        let head = (
            format!("pool, {features} -> {classes}"),
            (features * classes) as u64,
        );
        let steps = steps.chain(iter::once(head)).zip(times);
        let steps = steps.map(|((name, macs), time)| StepTime {
            name,
            macs: macs * n as u64,
            time,
        });
        Some((logits, steps.collect()))
    }

    /// What an operation is, and its multiply–adds for an image.
    fn describe(&self, op: &Op, sizes: &[[usize; 2]]) -> (String, u64) {
        let map = self.maps[op.to()];
        let [h, w] = sizes[map.size];
        let pixels = (h * w) as u64;
        let (what, macs) = match op {
            Op::Stem {
                weights, max_pool, ..
            } => {
                // The convolution computes the map that is pooled, not the one that is kept.
                let conv = match self.sizes[map.size] {
                    Size::Half(of) if *max_pool => sizes[of],
                    _ => [h, w],
                };
                let ([kh, kw], c_in) = (weights.size(), weights.c_in());
                let macs = kh * kw * c_in * map.channels * conv[0] * conv[1];
                let pool = if *max_pool { ", max-pool" } else { "" };
                (format!("{kh}x{kw}x{c_in}{pool}"), macs as u64)
            }
            Op::Product(node) => {
                let mut sums = sources(&node.weights, "");
                let mut macs = macs_per_pixel(&node.weights) * pixels;
                if let Some((weights, _)) = &node.coarse {
                    sums.extend(sources(weights, "up "));
                    macs += macs_per_pixel(weights) * (h.div_ceil(2) * w.div_ceil(2)) as u64;
                }
                (sums.join(" + "), macs)
            }
            Op::Depthwise { weights, .. } => {
                let [kh, kw] = weights.size();
                let macs = (kh * kw * map.channels) as u64 * pixels;
                (format!("{kh}x{kw} depthwise"), macs)
            }
            Op::Affine { .. } => ("norm".into(), 0),
            Op::Pool { .. } => ("average-pool".into(), 0),
            Op::MaxPool { .. } => ("max-pool".into(), 0),
        };
        (format!("{what} -> {}, {h}x{w}", map.channels), macs)
    }
}

fn sources(weights: &PackedWeights, from: &str) -> Vec<String> {
    let shapes = weights.shapes().iter();
    let source = shapes.map(|shape| {
        let [kh, kw] = shape.size;
        let groups = match shape.groups {
            1 => String::new(),
            groups => format!("/{groups}"),
        };
        format!("{from}{kh}x{kw}x{}{groups}", shape.c_in)
    });
    source.collect()
}

fn macs_per_pixel(weights: &PackedWeights) -> u64 {
    let of_source = weights.shapes().iter().map(|shape| {
        let [kh, kw] = shape.size;
        kh * kw * shape.c_in / shape.groups * weights.c_out()
    });
    of_source.sum::<usize>() as u64
}
