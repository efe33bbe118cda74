//! The layers in f64, straight from the definition.

use super::case::{Case, Data, Results, ends, exists};
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
pub(super) fn reference<const L: usize>(c: &Case<L>, d: &Data<L>) -> Results<f64, L> {
    let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let (ins, outs) = (c.in_sizes(), c.out_sizes());
    let n = c.images;
    let zeros = |v: &Vec<f32>| vec![0.0; v.len()];
    let mut r = Results {
        y: std::array::from_fn(|_| vec![]),
        dx: d.x.each_ref().map(zeros),
        dw: d.w.iter().map(zeros).collect(),
        db: d.bias.each_ref().map(zeros),
    };
    for (g, [h, w]) in outs.into_iter().enumerate() {
        let plane = h * w;
        for _ in 0..n {
            for b in &d.bias[g] {
                r.y[g].extend(std::iter::repeat_n(f64::from(*b), plane));
            }
        }
        for (i, v) in d.dy[g].iter().enumerate() {
            r.db[g][i / plane % c.c_out[g]] += f64::from(*v);
        }
    }
    for (p, [from, to]) in ends::<L>().enumerate() {
        if !exists(c, [from, to]) {
            continue;
        }
        // How often the input is pooled, and the output upsampled. One halving less is to be made up
        // for where the stride halves, too.
        let halve = usize::from(c.stride == 2 && !c.strided);
        let pools = (to + halve).saturating_sub(from);
        let ups = from.saturating_sub(to + halve);
        let (pools, ups) = if to < from { (0, ups) } else { (pools, 0) };
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
        // The sizes on the way up, the last one first.
        let up_sizes: Vec<[usize; 2]> = (0..ups)
            .map(|up| outs[to].map(|s| s.div_ceil(1 << up)))
            .collect();
        for &size in up_sizes.iter().rev() {
            y = upsample(&y, planes, size);
        }
        r.y[to].iter_mut().zip(&y).for_each(|(a, b)| *a += b);
        let mut dy = wide(&d.dy[to]);
        for &size in &up_sizes {
            dy = block_sum(&dy, planes, size);
        }
        let mut dx = vec![0.0; x.len()];
        conv.each(|o, i, k| {
            dx[i] += dy[o] * w[k];
            r.dw[p][k] += dy[o] * x[i];
        });
        for size in sizes.into_iter().rev() {
            dx = unpool(&dx, n * c.c_in[from], size);
        }
        r.dx[from].iter_mut().zip(&dx).for_each(|(a, b)| *a += b);
    }
    r
}
