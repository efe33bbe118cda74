//! Batch normalisation, activation and max-pooling in one: the end of a stem.
//!
//! The map between the activation and the pooling is the largest of a network.
//! It is made plane by plane in a scratch of the thread and never kept: of each
//! window the backward pass needs no more than which pixel was taken, and none
//! where that was cut off by a bound.

use std::cell::RefCell;

use super::passes::apply;
use super::{Norm, ParameterGradients, Planes, Residual, Statistics};
use crate::buffer::{Shared, floats};
use crate::isa::{Isa, per_isa};

/// Max-pooling over windows that lie within the map or reach over its border.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Distance between windows, per axis.
    pub stride: [usize; 2],
    /// How far the first window reaches over the border, per axis; less than the kernel.
    pub padding: [usize; 2],
}

/// What a pooled normalisation needs of its forward pass to go back.
#[derive(Clone, Copy, Debug)]
pub struct ForwardPooled<'a> {
    /// How it pooled.
    pub pool: &'a Pool,
    /// Which pixel of each window was taken.
    pub taken: &'a [u8],
    /// Statistics of the input.
    pub statistics: &'a Statistics,
}

/// Where the largest value of a window was cut off by a bound.
const CUT_OFF: u8 = u8::MAX;

impl Pool {
    /// Height and width of the output; windows that reach further over the lower or right border
    /// than `padding` are left out.
    pub fn out(&self) -> [usize; 2] {
        [0, 1].map(|a| (self.size[a] + 2 * self.padding[a] - self.kernel[a]) / self.stride[a] + 1)
    }

    /// Why the kernels here cannot compute this pooling, or `None` if they can.
    pub fn unsupported(&self) -> Option<String> {
        for a in [0, 1] {
            let (kernel, padding) = (self.kernel[a], self.padding[a]);
            if kernel == 0 || self.stride[a] == 0 || padding >= kernel {
                return Some(format!("a window of {kernel} with padding {padding}"));
            }
            if self.size[a] + padding < kernel {
                return Some(format!("a window of {kernel} on {} pixels", self.size[a]));
            }
        }
        let taps = self.kernel[0] * self.kernel[1];
        (taps >= usize::from(CUT_OFF)).then(|| format!("windows of {taps} pixels"))
    }

    /// The pixels of window `i` along `axis`: the first, how many, and the number of the first one
    /// in the window.
    fn window(&self, axis: usize, i: usize) -> (usize, usize, usize) {
        let start = i * self.stride[axis];
        let skipped = self.padding[axis].saturating_sub(start);
        let first = start + skipped - self.padding[axis];
        let end = (start + self.kernel[axis] - self.padding[axis]).min(self.size[axis]);
        (first, end - first, skipped)
    }

    /// Pools one plane and says which pixel of each window was taken.
    fn plane(
        &self,
        isa: Isa,
        x: &[f32],
        columns: &mut Columns,
        bounds: [f32; 2],
        y: &mut [f32],
        taken: &mut [u8],
    ) {
        let ([_, width], [_, out_width]) = (self.size, self.out());
        let rows = y
            .chunks_exact_mut(out_width)
            .zip(taken.chunks_exact_mut(out_width));
        for (oy, (y, taken)) in rows.enumerate() {
            let (first, count, skipped) = self.window(0, oy);
            columns.start(&x[first * width..][..width]);
            for row in 1..count {
                let line = &x[(first + row) * width..][..width];
                let Columns { best, row: from } = columns;
                higher(isa, line, row as u32, best, from);
            }
            for (ox, (y, taken)) in y.iter_mut().zip(taken).enumerate() {
                let (left, count, skipped_left) = self.window(1, ox);
                let mut at = left;
                for x in left + 1..left + count {
                    if above(columns.best[x], columns.best[at]) {
                        at = x;
                    }
                }
                let best = columns.best[at];
                let row = skipped + columns.row[at] as usize;
                let tap = row * self.kernel[1] + skipped_left + at - left;
                *y = best;
                *taken = if best <= bounds[0] || best >= bounds[1] {
                    CUT_OFF
                } else {
                    tap as u8
                };
            }
        }
    }

    /// Adds the gradient of each output pixel to the pixel that was taken.
    fn spread(&self, dy: &[f32], taken: &[u8], dx: &mut [f32]) {
        let ([_, width], [_, out_width]) = (self.size, self.out());
        for (i, (dy, tap)) in dy.iter().zip(taken).enumerate() {
            if *tap != CUT_OFF {
                let tap = usize::from(*tap);
                let (oy, ox) = (i / out_width, i % out_width);
                let y = oy * self.stride[0] + tap / self.kernel[1] - self.padding[0];
                let x = ox * self.stride[1] + tap % self.kernel[1] - self.padding[1];
                dx[y * width + x] += dy;
            }
        }
    }
}

/// The largest value of each column over the rows of a window, and its row.
#[derive(Default)]
struct Columns {
    best: Vec<f32>,
    row: Vec<u32>,
}

impl Columns {
    fn start(&mut self, line: &[f32]) {
        self.best.clear();
        self.best.extend_from_slice(line);
        self.row.clear();
        self.row.resize(line.len(), 0);
    }
}

/// Whether `a` takes the place of `b`: the first of equals stays, and so does a NaN.
#[inline(always)]
fn above(a: f32, b: f32) -> bool {
    a > b || a.is_nan()
}

per_isa! {
    /// Where `line` is above `best` it takes its place, and `row` that of `from`.
    fn higher(line: &[f32], row: u32, best: &mut [f32], from: &mut [u32]) {
        for ((v, best), from) in line.iter().zip(best).zip(from) {
            let above = above(*v, *best);
            *best = if above { *v } else { *best };
            *from = if above { row } else { *from };
        }
    }
}

#[derive(Default)]
struct Scratch {
    plane: Vec<f32>,
    columns: Columns,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Norm<'_> {
    /// `y = pool(bounded((x − mean) / √(variance + ε) · γ + β))`, the statistics of the batch, and
    /// which pixel of each window was taken.
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn forward_pooled(
        &self,
        isa: Isa,
        pool: &Pool,
        x: &[f32],
        y: &mut [f32],
        taken: &mut [u8],
        statistics: &mut Statistics,
    ) {
        let pixels = self.check_pooled(pool, y.len(), taken.len());
        let y = Planes::new(y);
        let taken = Shared(taken.as_mut_ptr());
        let size = self.dims[2];
        self.go(isa, x, statistics, |p, affine| {
            let at = p.start / size * pixels;
            // SAFETY: the pooled planes of a channel are the job's that has its planes.
            let (y, taken) = unsafe {
                (
                    y.get(&(at..at + pixels)),
                    std::slice::from_raw_parts_mut(taken.get().add(at), pixels),
                )
            };
            SCRATCH.with_borrow_mut(|Scratch { plane, columns }| {
                plane.resize(size, 0.0);
                let (x, bounds) = (&x[p.clone()], self.bounds);
                apply(isa, x, affine, Residual::None, bounds, plane);
                pool.plane(isa, plane, columns, bounds, y, taken);
            });
        });
    }

    /// Gradients, given that of the output of [`forward_pooled`](Self::forward_pooled).
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn backward_pooled(
        &self,
        isa: Isa,
        x: &[f32],
        forward: ForwardPooled<'_>,
        dy: &[f32],
        dx: &mut [f32],
        to: ParameterGradients<'_>,
    ) {
        let ForwardPooled {
            pool,
            taken,
            statistics,
        } = forward;
        let pixels = self.check_pooled(pool, dy.len(), taken.len());
        self.check(&[x.len(), dx.len()]);
        let size = self.dims[2];
        let spread = |p: &std::ops::Range<usize>, dx: &mut [f32]| {
            let at = p.start / size * pixels;
            dx.fill(0.0);
            pool.spread(&dy[at..at + pixels], &taken[at..at + pixels], dx);
        };
        self.go_back_over_dy(isa, x, statistics, dx, spread, to);
    }

    /// Pixels of a pooled plane.
    fn check_pooled(&self, pool: &Pool, y: usize, taken: usize) -> usize {
        let [n, c, size] = self.dims;
        assert_eq!(floats("a plane", &pool.size), size, "pixels of a plane");
        let [height, width] = pool.out();
        let pooled = floats("a pooled map", &[n, c, height, width]);
        assert_eq!([y, taken], [pooled; 2], "pooled pixels");
        height * width
    }
}

#[cfg(test)]
#[path = "pooled_tests.rs"]
mod tests;
