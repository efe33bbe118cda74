//! The layers in f64, straight from the definition.

use super::Results;
use super::case::{Case, Data, PATHS, exists};
use crate::naive::{Conv, average_pool2};

fn upsample(x: &[f64], planes: usize, [h, w]: [usize; 2]) -> Vec<f64> {
    let (hl, wl) = (h.div_ceil(2), w.div_ceil(2));
    (0..planes * h * w)
        .map(|i| x[i / (h * w) * hl * wl + i % (h * w) / w / 2 * wl + i % w / 2])
        .collect()
}

/// Adjoint of `upsample`.
fn block_sum(y: &[f64], planes: usize, [h, w]: [usize; 2]) -> Vec<f64> {
    let (hl, wl) = (h.div_ceil(2), w.div_ceil(2));
    let mut x = vec![0.0; planes * hl * wl];
    for (i, v) in y.iter().enumerate() {
        x[i / (h * w) * hl * wl + i % (h * w) / w / 2 * wl + i % w / 2] += v;
    }
    x
}

/// Adjoint of average pooling of a map of the given size.
fn unpool(y: &[f64], planes: usize, [h, w]: [usize; 2]) -> Vec<f64> {
    let mut x = upsample(y, planes, [h, w]);
    for (i, v) in x.iter_mut().enumerate() {
        let (row, col) = (i % (h * w) / w / 2 * 2, i % w / 2 * 2);
        *v /= ((h - row).min(2) * (w - col).min(2)) as f64;
    }
    x
}

/// Straight from the definition.
pub(super) fn reference(c: &Case, d: &Data) -> Results<f64> {
    let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let (ins, outs) = (c.in_sizes(), c.out_sizes());
    let n = c.images;
    let mut r: Results<f64> = std::array::from_fn(|_| vec![]);
    for g in 0..2 {
        let plane = outs[g][0] * outs[g][1];
        for _ in 0..n {
            for b in &d.bias[g] {
                r[g].extend(std::iter::repeat_n(f64::from(*b), plane));
            }
        }
        r[2 + g] = vec![0.0; d.x[g].len()];
        r[8 + g] = vec![0.0; d.bias[g].len()];
        for (i, v) in d.dy[g].iter().enumerate() {
            r[8 + g][i / plane % c.c_out[g]] += f64::from(*v);
        }
    }
    for (p, [from, to]) in PATHS.into_iter().enumerate() {
        r[4 + p] = vec![0.0; d.w[p].len()];
        if !exists(c, p) {
            continue;
        }
        // How often the input is pooled, and whether the output is upsampled.
        let halve = c.stride == 2 && !c.strided;
        let pools = match (from, to) {
            (0, 1) => 1 + usize::from(halve),
            (1, 0) => 0,
            _ => usize::from(halve),
        };
        let up = (from, to) == (1, 0) && !halve;
        let (mut x, mut size) = (wide(&d.x[from]), ins[from]);
        let mut sizes = vec![];
        for _ in 0..pools {
            x = average_pool2(&x, [n, c.c_in[from], size[0], size[1]]);
            sizes.push(size);
            size = size.map(|s| s.div_ceil(2));
        }
        let conv = Conv {
            dims: [n, c.c_in[from], size[0], size[1]],
            c_out: c.c_out[to],
            kernel: c.kernel,
            stride: if c.strided { c.stride } else { 1 },
            padding: c.padding,
            dilation: c.dilation,
            groups: c.groups_of(from),
        };
        let w = wide(&d.w[p]);
        let [oh, ow] = conv.out();
        let planes = n * c.c_out[to];
        let mut y = vec![0.0; planes * oh * ow];
        conv.each(|o, i, k| y[o] += x[i] * w[k]);
        let y = if up { upsample(&y, planes, outs[0]) } else { y };
        r[to].iter_mut().zip(&y).for_each(|(a, b)| *a += b);
        let dy = wide(&d.dy[to]);
        let dy = if up {
            block_sum(&dy, planes, outs[0])
        } else {
            dy
        };
        let mut dx = vec![0.0; x.len()];
        conv.each(|o, i, k| {
            dx[i] += dy[o] * w[k];
            r[4 + p][k] += dy[o] * x[i];
        });
        for size in sizes.into_iter().rev() {
            dx = unpool(&dx, n * c.c_in[from], size);
        }
        r[2 + from].iter_mut().zip(&dx).for_each(|(a, b)| *a += b);
    }
    r
}
