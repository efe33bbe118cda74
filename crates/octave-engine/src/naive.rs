//! Plain loops in f64, straight from the definitions, for the tests.

/// A convolution on NCHW.
pub(crate) struct Conv {
    /// `[n, c_in, h, w]` of the input.
    pub dims: [usize; 4],
    pub c_out: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Conv {
    pub(crate) fn out(&self) -> [usize; 2] {
        [0, 1].map(|a| {
            (self.dims[2 + a] + 2 * self.padding[a] - (self.kernel[a] - 1) * self.dilation[a] - 1)
                / self.stride
                + 1
        })
    }

    /// Calls `f(output, input, weight)` with the flat indices of every product.
    pub(crate) fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let [n, c_in, h, w] = self.dims;
        let [ho, wo] = self.out();
        let [kh, kw] = self.kernel;
        let (ins, outs) = (c_in / self.groups, self.c_out / self.groups);
        for i in 0..n {
            for o in 0..self.c_out {
                for y in 0..ho {
                    for x in 0..wo {
                        let at = ((i * self.c_out + o) * ho + y) * wo + x;
                        for c in 0..ins {
                            let channel = o / outs * ins + c;
                            for ky in 0..kh {
                                let iy = (y * self.stride + ky * self.dilation[0])
                                    .wrapping_sub(self.padding[0]);
                                for kx in 0..kw {
                                    let ix = (x * self.stride + kx * self.dilation[1])
                                        .wrapping_sub(self.padding[1]);
                                    if iy < h && ix < w {
                                        f(
                                            at,
                                            ((i * c_in + channel) * h + iy) * w + ix,
                                            ((o * ins + c) * kh + ky) * kw + kx,
                                        );
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds the convolution to `y` and the absolute products to `scale`.
pub(crate) fn conv(conv: &Conv, x: &[f32], weight: &[f32], y: &mut [f64], scale: &mut [f64]) {
    conv.each(|o, i, k| {
        let p = f64::from(x[i]) * f64::from(weight[k]);
        y[o] += p;
        scale[o] += p.abs();
    });
}

/// 2×2 averages of `[n, c, h, w]`, over the pixels that exist.
pub(crate) fn average_pool2<T: Copy + Into<f64>>(x: &[T], dims: [usize; 4]) -> Vec<f64> {
    let [n, c, h, w] = dims;
    let (ho, wo) = (h.div_ceil(2), w.div_ceil(2));
    let mut y = vec![0.0; n * c * ho * wo];
    for (i, out) in y.iter_mut().enumerate() {
        let (plane, oy, ox) = (i / (ho * wo), i % (ho * wo) / wo, i % wo);
        let mut count = 0.0;
        for iy in 2 * oy..(2 * oy + 2).min(h) {
            for ix in 2 * ox..(2 * ox + 2).min(w) {
                *out += x[(plane * h + iy) * w + ix].into();
                count += 1.0;
            }
        }
        *out /= count;
    }
    y
}

/// Whether `got` is `want` within rounding: 1e-5 of the sum of absolute
/// products, which one wrong product of thousands exceeds, and which f32 sums
/// of these lengths stay far below.
pub(crate) fn close(got: &[f32], want: &[f64], scale: &[f64]) -> Result<(), String> {
    assert_eq!(got.len(), want.len());
    for (i, ((&g, &w), &s)) in got.iter().zip(want).zip(scale).enumerate() {
        let error = (f64::from(g) - w).abs();
        if error.is_nan() || error > 1e-5 * (s + 1.0) {
            return Err(format!(
                "element {i} of {}: {g} instead of {w}, scale {s}",
                got.len()
            ));
        }
    }
    Ok(())
}
