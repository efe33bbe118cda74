//! Layers to try, and numbers for them.

use octave_plan::{Exchange, Layer, Padding, Plan, Refusal};

use super::super::OctConv;
use crate::testing::Rng;

/// A layer as the reference sees it: what happens on a path is said once more here, not read from
/// the plan. Frequency groups are `[high, low]`.
#[derive(Clone, Debug)]
pub(in super::super) struct Case {
    pub images: usize,
    pub size: [usize; 2],
    pub c_in: [usize; 2],
    pub c_out: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: usize,
    pub strided: bool,
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Case {
    /// One image through a small layer with all four paths.
    pub(in super::super) fn small() -> Self {
        Self {
            images: 1,
            size: [8, 9],
            c_in: [4, 4],
            c_out: [4, 4],
            kernel: [3, 3],
            stride: 1,
            strided: false,
            padding: [1, 1],
            dilation: [1, 1],
            groups: 1,
        }
    }

    pub(in super::super) fn plan(&self) -> Plan<2> {
        let layer = Layer {
            stride: self.stride,
            strided: self.strided,
            padding: Padding::Explicit(self.padding.map(|p| (p, p))),
            dilation: self.dilation,
            groups: self.groups,
            ..Layer::new(self.c_in, self.c_out, self.kernel)
        };
        Plan::new(layer, Exchange::Both)
    }

    /// One filter per channel.
    pub(super) fn depthwise(&self) -> bool {
        let [c_in, c_out] = [self.c_in, self.c_out].map(|c| c[0] + c[1]);
        self.groups > 1 && [c_in, c_out] == [self.groups; 2]
    }

    /// Groups of a path from a level.
    pub(super) fn groups_of(&self, from: usize) -> usize {
        match self.depthwise() {
            true => self.c_in[from],
            false => self.groups,
        }
    }

    pub(in super::super) fn conv(&self) -> Result<OctConv, Refusal> {
        OctConv::new(self.plan(), self.images, self.size)
    }

    pub(super) fn in_sizes(&self) -> [[usize; 2]; 2] {
        [self.size, self.size.map(|s| s.div_ceil(2))]
    }

    pub(super) fn out_sizes(&self) -> [[usize; 2]; 2] {
        let pooled = self.stride == 2 && !self.strided;
        self.in_sizes().map(|size| {
            [0, 1].map(|a| {
                let size = if pooled { size[a].div_ceil(2) } else { size[a] };
                let reach = (self.kernel[a] - 1) * self.dilation[a];
                let stride = if self.strided { self.stride } else { 1 };
                // A level without channels may be too small for the kernel.
                (size + 2 * self.padding[a]).saturating_sub(reach + 1) / stride + 1
            })
        })
    }
}

/// Inputs, kernels (hh, hl, lh, ll), biases and output gradients of a layer.
#[derive(Clone)]
pub(super) struct Data {
    pub x: [Vec<f32>; 2],
    pub w: [Vec<f32>; 4],
    pub bias: [Vec<f32>; 2],
    pub dy: [Vec<f32>; 2],
}

/// Paths: input group, output group.
pub(super) const PATHS: [[usize; 2]; 4] = [[0, 0], [0, 1], [1, 0], [1, 1]];

pub(super) fn exists(c: &Case, path: usize) -> bool {
    let [from, to] = PATHS[path];
    let exchanges = from == to || !c.depthwise();
    exchanges && c.c_in[from] > 0 && c.c_out[to] > 0
}

impl Data {
    pub(super) fn new(c: &Case, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (ins, outs) = (c.in_sizes(), c.out_sizes());
        let taps = c.kernel[0] * c.kernel[1];
        let x = [0, 1].map(|g| rng.vec(c.images * c.c_in[g] * ins[g][0] * ins[g][1]));
        let w = [0, 1, 2, 3].map(|p| {
            let [from, to] = PATHS[p];
            let columns = c.c_in[from] / c.groups_of(from).max(1);
            rng.vec(c.c_out[to] * columns * taps)
        });
        let bias = c.c_out.map(|n| rng.vec(n));
        let dy = [0, 1].map(|g| rng.vec(c.images * c.c_out[g] * outs[g][0] * outs[g][1]));
        Self { x, w, bias, dy }
    }

    pub(super) fn abs(&self) -> Self {
        let abs = |v: &Vec<f32>| v.iter().map(|x| x.abs()).collect();
        Self {
            x: [abs(&self.x[0]), abs(&self.x[1])],
            w: [0, 1, 2, 3].map(|i| abs(&self.w[i])),
            bias: [abs(&self.bias[0]), abs(&self.bias[1])],
            dy: [abs(&self.dy[0]), abs(&self.dy[1])],
        }
    }
}
