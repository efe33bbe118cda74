//! What is computed of a network, and how long each operation takes.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use octave_engine::apart;
use octave_plan::{Path, Plan};

use super::{
    layer::Layer,
    work::{Conv, First, Operation, Work},
};

/// One operation of a network, with the norm, the sum, the activation and the pooling that are
/// computed in the same pass.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTime {
    /// What is computed, such as `3x3x64 + up 3x3x64 -> 64, 56x56`: what is summed, each with kernel
    /// size and input channels, `up` where it comes from half the resolution; then the output's
    /// channels, height and width. ` | ` stands between the groups of a layer.
    pub name: String,
    /// Multiply–adds of the whole batch. Pooling, norms and activations count as none.
    pub macs: u64,
    /// Wall-clock time.
    pub time: Duration,
}

thread_local! {
    /// The steps of the scope that this thread is in.
    static STEPS: RefCell<Option<Vec<StepTime>>> = const { RefCell::new(None) };
}

/// Runs `work`, and measures every operation that the engine computes without gradients meanwhile
/// for it, in order.
///
/// What `work` returns must have been computed: a plain tensor, or features after
/// [`OctFeatures::compute`](crate::OctFeatures::compute). Layers that the engine does not compute,
/// Burn's own among them, are no steps. As [`without_engine`](crate::ops::without_engine) it
/// runs on a thread of its own within a task of a rayon pool.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_octconv::{OctConv2dConfig, ops::timed};
///
/// let device = Device::flex();
/// let layer = OctConv2dConfig::new([16, 32], [3, 3]).with_alpha_in(0.0).init(&device);
/// let image = Tensor::<4>::ones([1, 16, 8, 8], &device);
/// let (_, steps) = timed(|| layer.forward(image).global_avg_pool());
/// let last = steps.last().unwrap();
/// assert_eq!(last.name, "3x3x16 -> 16, 8x8 | 3x3x16 -> 16, 4x4");
/// assert_eq!(last.macs, 16 * 16 * 9 * (64 + 16));
/// ```
pub fn timed<T: Send>(work: impl FnOnce() -> T + Send) -> (T, Vec<StepTime>) {
    apart(|| {
        let outer = STEPS.replace(Some(Vec::new()));
        let result = work();
        let steps = STEPS.replace(outer);
        (result, steps.unwrap_or_default())
    })
}

/// Runs an operation that computes groups of shapes `dims`, and keeps its time if somebody asks.
pub(super) fn step<T>(work: &Work, dims: [[usize; 4]; 2], run: impl FnOnce() -> T) -> T {
    let asked = STEPS.with_borrow(Option::is_some);
    if !asked {
        return run();
    }
    let start = Instant::now();
    let result = run();
    let time = start.elapsed();
    let (name, macs) = work.describe(dims);
    STEPS.with_borrow_mut(|steps| {
        if let Some(steps) = steps {
            steps.push(StepTime { name, macs, time });
        }
    });
    result
}

impl Work {
    /// What it computes, and its multiply–adds.
    fn describe(&self, dims: [[usize; 4]; 2]) -> (String, u64) {
        let images = dims[0][0] as u64;
        let mut groups = Vec::new();
        let mut macs = 0;
        for (level, [_, channels, h, w]) in dims.into_iter().enumerate() {
            if channels > 0 {
                let (what, of_group) = self.operation.describe(level);
                groups.push(format!("{what} -> {channels}, {h}x{w}"));
                macs += of_group;
            }
        }
        (groups.join(" | "), images * macs)
    }
}

impl Operation {
    /// What computes a group, and its multiply–adds for an image.
    fn describe(&self, level: usize) -> (String, u64) {
        let nothing = |what: &str| (what.to_string(), 0);
        match self {
            Self::Plain(_) => nothing("to blocks"),
            Self::First(first) => first.describe(level),
            Self::Conv(convs) => {
                let sums = convs.iter().map(|conv| conv.describe(level));
                let (names, macs): (Vec<_>, Vec<_>) = sums.unzip();
                (names.join(" + "), macs.iter().sum())
            }
            Self::Pass(_, Some(_)) => nothing("norm"),
            Self::Pass(parts, None) if parts.len() > 1 => nothing("side by side"),
            Self::Pass(..) => nothing("sum or activation"),
            Self::Scale(..) => nothing("gates"),
            Self::MaxPool(_) => nothing("max-pool"),
            Self::Half(_) => nothing("average-pool"),
        }
    }
}

impl First {
    fn describe(&self, level: usize) -> (String, u64) {
        let size = self.size();
        let (name, macs) = self.layer.describe(level, size);
        let pool = if self.max_pool { ", max-pool" } else { "" };
        (name + pool, macs)
    }
}

impl Conv {
    fn describe(&self, level: usize) -> (String, u64) {
        self.layer.describe(level, self.input.size())
    }
}

impl Layer {
    /// The paths into an output group of a layer that is called with maps of full resolution `size`.
    fn describe(&self, level: usize, size: [usize; 2]) -> (String, u64) {
        let plan = &self.plan;
        let paths = plan.paths.iter().filter(|path| path.to == level);
        let (names, macs): (Vec<_>, Vec<_>) = paths
            .map(|path| (name(plan, path), plan.macs(path, size)))
            .unzip();
        (names.join(" + "), macs.iter().sum())
    }
}

fn name(plan: &Plan<2>, path: &Path) -> String {
    let ([kh, kw], channels) = (plan.kernel_size, plan.input[path.from]);
    if plan.is_depthwise() {
        return format!("{kh}x{kw} depthwise");
    }
    let up = if path.up > 0 { "up " } else { "" };
    let groups = match plan.groups {
        1 => String::new(),
        groups => format!("/{groups}"),
    };
    format!("{up}{kh}x{kw}x{channels}{groups}")
}
