//! Layers to try, and numbers for them.

use octave_plan::{Exchange, Layer, Padding, Plan, Refusal};

use super::super::OctConv;
use crate::testing::Rng;

/// A layer as the reference sees it: what happens on a path is said once more here, not read from
/// the plan. Frequency groups are those of `L` levels, `[high, low]` for two.
#[derive(Clone, Debug)]
pub(in super::super) struct Case<const L: usize = 2> {
    pub images: usize,
    pub size: [usize; 2],
    pub c_in: [usize; L],
    pub c_out: [usize; L],
    pub kernel: [usize; 2],
    pub stride: usize,
    pub strided: bool,
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Case<2> {
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
}

impl<const L: usize> Case<L> {
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
        let [c_in, c_out] = [self.c_in, self.c_out].map(|c| c.iter().sum::<usize>());
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

    pub(super) fn in_sizes(&self) -> [[usize; 2]; L] {
        std::array::from_fn(|level| self.size.map(|s| s.div_ceil(1 << level)))
    }

    pub(super) fn out_sizes(&self) -> [[usize; 2]; L] {
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

/// Inputs, kernels, biases and output gradients of a layer.
#[derive(Clone)]
pub(super) struct Data<const L: usize = 2> {
    pub x: [Vec<f32>; L],
    /// By the level that is read and then by the one that is added to, also for paths that are not.
    pub w: Vec<Vec<f32>>,
    pub bias: [Vec<f32>; L],
    pub dy: [Vec<f32>; L],
}

/// The levels that the kernels lie between, in the order of [`Data::w`].
pub(super) fn ends<const L: usize>() -> impl Iterator<Item = [usize; 2]> {
    (0..L * L).map(|number| [number / L, number % L])
}

pub(super) fn exists<const L: usize>(c: &Case<L>, [from, to]: [usize; 2]) -> bool {
    let exchanges = from == to || !c.depthwise();
    exchanges && c.c_in[from] > 0 && c.c_out[to] > 0
}

impl<const L: usize> Data<L> {
    pub(super) fn new(c: &Case<L>, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (ins, outs) = (c.in_sizes(), c.out_sizes());
        let taps = c.kernel[0] * c.kernel[1];
        let maps = |rng: &mut Rng, channels: [usize; L], sizes: [[usize; 2]; L]| {
            let floats = |g: usize| c.images * channels[g] * sizes[g][0] * sizes[g][1];
            std::array::from_fn(|g| rng.vec(floats(g)))
        };
        let x = maps(&mut rng, c.c_in, ins);
        let kernel = |[from, to]: [usize; 2]| {
            let columns = c.c_in[from] / c.groups_of(from).max(1);
            rng.vec(c.c_out[to] * columns * taps)
        };
        let w = ends::<L>().map(kernel).collect();
        let bias = c.c_out.map(|n| rng.vec(n));
        let dy = maps(&mut rng, c.c_out, outs);
        Self { x, w, bias, dy }
    }

    pub(super) fn abs(&self) -> Self {
        let abs = |v: &Vec<f32>| v.iter().map(|x| x.abs()).collect();
        Self {
            x: self.x.each_ref().map(abs),
            w: self.w.iter().map(abs).collect(),
            bias: self.bias.each_ref().map(abs),
            dy: self.dy.each_ref().map(abs),
        }
    }
}

/// What a layer computes from its [`Data`].
#[derive(Debug, PartialEq)]
pub(super) struct Results<T, const L: usize = 2> {
    pub y: [Vec<T>; L],
    pub dx: [Vec<T>; L],
    pub dw: Vec<Vec<T>>,
    pub db: [Vec<T>; L],
}

impl<T, const L: usize> Results<T, L> {
    /// Everything, with its name.
    pub(super) fn each(&self) -> impl Iterator<Item = (String, &Vec<T>)> {
        let all = [
            ("y", &self.y[..]),
            ("dx", &self.dx[..]),
            ("dw", &self.dw[..]),
            ("db", &self.db[..]),
        ];
        all.into_iter().flat_map(|(name, of)| {
            let numbered = of.iter().enumerate();
            numbered.map(move |(i, values)| (format!("{name} {i}"), values))
        })
    }
}
