//! Gradients of an octave convolution.
//!
//! With S the 2×2 sum (adjoint of the upsampling) and U the spreading over 2×2
//! pixels (adjoint of the pooling):
//!
//! ```text
//! dX^H = hhᵀ · dY^H + U(hlᵀ · dY^L)        d hh = X^H ⋆ dY^H     d hl = pool(X^H) ⋆ dY^L
//! dX^L = lhᵀ · S(dY^H) + llᵀ · dY^L        d lh = X^L ⋆ S(dY^H)  d ll = X^L ⋆ dY^L
//! ```
//!
//! and for stride 2, where the inputs of the convolutions are pooled once more
//! and L→H needs no upsampling:
//!
//! ```text
//! dX^H = U(hhᵀ · dY^H + U(hlᵀ · dY^L))     dX^L = lhᵀ · dY^H + U(llᵀ · dY^L)
//! ```
//!
//! These are again sums of products with fine and coarse parts, so the kernels
//! of the forward pass compute them, with transposed kernels; U is their
//! epilogue. Both input gradients and all weight gradients of a few images
//! share one parallel region.

use super::forward::inputs;
use super::intake::{Intake, intake};
use super::weight_grad::{Reading, WeightGrad, bias_grad};
use super::{OctConv, OctWeights, Workspace, images_of, strided};
use crate::conv::{Coarse, Kernel, Output, PackedWeights, Product, Source, panel_width, run_with};
use crate::isa::Isa;
use crate::map::BlockedMap;

/// Where gradients go, shaped like what they are gradients of; `None` where
/// one is not wanted.
#[derive(Default)]
pub struct Gradients<'a> {
    /// Of the high input.
    pub x_h: Option<&'a mut [f32]>,
    /// Of the low input.
    pub x_l: Option<&'a mut [f32]>,
    /// Of the kernel H→H.
    pub hh: Option<&'a mut [f32]>,
    /// Of the kernel H→L.
    pub hl: Option<&'a mut [f32]>,
    /// Of the kernel L→H.
    pub lh: Option<&'a mut [f32]>,
    /// Of the kernel L→L.
    pub ll: Option<&'a mut [f32]>,
    /// Of the bias of the high outputs.
    pub bias_h: Option<&'a mut [f32]>,
    /// Of the bias of the low outputs.
    pub bias_l: Option<&'a mut [f32]>,
}

/// Which forms of which tensors an operation reads.
#[derive(Default)]
struct Needs {
    /// dY^H, S(dY^H), dY^L.
    dy: [bool; 3],
}

/// Computes all wanted gradients, given those of the outputs.
///
/// # Panics
///
/// If a tensor that a wanted gradient needs is missing, or lengths do not fit.
#[allow(clippy::too_many_arguments)]
pub fn octconv2d_backward(
    isa: Isa,
    conv: &OctConv,
    x_h: Option<&[f32]>,
    x_l: Option<&[f32]>,
    weights: &OctWeights<'_>,
    dy_h: Option<&[f32]>,
    dy_l: Option<&[f32]>,
    mut to: Gradients<'_>,
    ws: &mut Workspace,
) {
    conv.check(weights);
    if let Some(db) = to.bias_h.take() {
        bias_grad(
            dy_h.expect("the gradient of the high output"),
            conv.images,
            db,
        );
    }
    if let Some(db) = to.bias_l.take() {
        bias_grad(
            dy_l.expect("the gradient of the low output"),
            conv.images,
            db,
        );
    }
    if strided::is_stem(conv, weights) && to.x_h.is_none() {
        if let Some(dw) = to.hh {
            let (x, dy) = (
                x_h.expect("a high input"),
                dy_h.expect("an output gradient"),
            );
            strided::stem_backward(isa, conv, x, dy, dw, &mut ws.stem);
        }
        return;
    }
    let pools = conv.pools();
    let OctWeights { hh, hl, lh, ll, .. } = *weights;
    pack(isa, conv, weights, ws);
    let [c_h, c_l] = conv.c_in;
    let [o_h, o_l] = conv.c_out;
    let wanted = [
        (to.hh.is_some(), hh, c_h, o_h),
        (to.hl.is_some(), hl, c_h, o_l),
        (to.lh.is_some(), lh, c_l, o_h),
        (to.ll.is_some(), ll, c_l, o_l),
    ];
    for (grad, (wanted, weight, c_in, c_out)) in ws.grads.iter_mut().zip(wanted) {
        if wanted {
            let weight = weight.expect("a kernel whose gradient is wanted");
            grad.zeros(c_out, &conv.kernel(weight, c_in, false));
        }
    }
    // Inputs are only needed for weight gradients.
    let of_wanted = OctWeights {
        hh: hh.filter(|_| to.hh.is_some()),
        hl: hl.filter(|_| to.hl.is_some()),
        lh: lh.filter(|_| to.lh.is_some()),
        ll: ll.filter(|_| to.ll.is_some()),
        ..OctWeights::default()
    };
    let needs = Needs {
        dy: [
            hh.is_some() || (pools && lh.is_some()),
            !pools && lh.is_some(),
            hl.is_some() || ll.is_some(),
        ],
    };

    let ([in_h, in_l], [out_h, out_l]) = (conv.in_sizes(), conv.out_sizes());
    let floats = c_h * in_h[0] * in_h[1]
        + c_l * in_l[0] * in_l[1]
        + o_h * out_h[0] * out_h[1]
        + o_l * out_l[0] * out_l[1];
    let at_once = conv.images_at_once(floats);
    for first in (0..conv.images).step_by(at_once) {
        let range = first..(first + at_once).min(conv.images);
        let mut tensors = inputs(conv, x_h, x_l, &of_wanted, &mut ws.x_high, &mut ws.x_low);
        tensors.extend(outputs(
            conv,
            dy_h,
            dy_l,
            &needs,
            &mut ws.dy_high,
            &mut ws.dy_low,
        ));
        intake(isa, tensors, &range);

        let n = range.len();
        let [dyh, sums] = &ws.dy_high;
        let dyl = &ws.dy_low;
        let back = |map| Source {
            padding: conv.back_padding(),
            ..Source::new(map, 0)
        };
        let [conv_h, conv_l] = conv.conv_sizes();
        let mut products = Vec::new();
        let mut phases = None;
        if let Some(dx) = to.x_h.as_deref_mut() {
            let at = images_of(dx, conv.images, &range);
            let dx = &mut dx[at];
            if conv.strided && conv.stride == 2 {
                phases = Some(dx);
            } else {
                let sources = if hh.is_some() {
                    vec![back(dyh)]
                } else {
                    vec![]
                };
                let output = if pools {
                    Output::Unpooled(dx, in_h)
                } else {
                    Output::Planar(dx)
                };
                let size = [n, conv_h[0], conv_h[1]];
                let mut p = Product::new(&ws.fine[0], sources, size, output);
                if hl.is_some() {
                    let sources = vec![back(dyl)];
                    p.coarse = Some(Coarse {
                        weights: &ws.coarse[0],
                        sources,
                        spread: true,
                    });
                }
                products.push(p);
            }
        }
        if let Some(dx) = to.x_l.as_deref_mut() {
            let at = images_of(dx, conv.images, &range);
            let output = Output::Planar(&mut dx[at]);
            let mut sources = Vec::new();
            if lh.is_some() {
                sources.push(back(if pools { dyh } else { sums }));
            }
            if ll.is_some() && !pools {
                sources.push(back(dyl));
            }
            let mut p = Product::new(&ws.fine[1], sources, [n, in_l[0], in_l[1]], output);
            if ll.is_some() && pools {
                debug_assert_eq!(conv_l, in_l.map(|s| s.div_ceil(2)));
                let sources = vec![back(dyl)];
                p.coarse = Some(Coarse {
                    weights: &ws.coarse[1],
                    sources,
                    spread: true,
                });
            }
            products.push(p);
        }
        let [h, hp, hpp] = &ws.x_high;
        let [l, lp] = &ws.x_low;
        let pairs = if pools {
            [(hp, dyh), (hpp, dyl), (l, dyh), (lp, dyl)]
        } else {
            [(h, dyh), (hp, dyl), (l, sums), (l, dyl)]
        };
        let stride = if conv.strided { conv.stride } else { 1 };
        let grads: Vec<_> = ws
            .grads
            .iter_mut()
            .zip(pairs)
            .zip(wanted)
            .filter(|(_, wanted)| wanted.0)
            .map(|((acc, (x, dy)), _)| {
                let padding = conv.padding;
                WeightGrad::new(acc, x, Reading { stride, padding }, dy)
            })
            .collect();
        let jobs: usize = grads.iter().map(WeightGrad::jobs).sum();
        let weight_job = |mut job: usize| {
            for grad in &grads {
                if job < grad.jobs() {
                    // SAFETY: every job of the region comes once.
                    return unsafe { grad.run(isa, job) };
                }
                job -= grad.jobs();
            }
        };
        match phases {
            Some(dx) => {
                let weight = hh.expect("a kernel");
                let others = (jobs, weight_job);
                strided::input_grad(isa, conv, weight, dyh, dx, &mut ws.stem, others);
            }
            None => run_with(isa, products, jobs, weight_job),
        }
    }
    for (grad, dw) in ws.grads.iter().zip([to.hh, to.hl, to.lh, to.ll]) {
        if let Some(dw) = dw {
            grad.unpack(isa, dw);
        }
    }
}

/// Packs the transposed kernels.
fn pack(isa: Isa, conv: &OctConv, weights: &OctWeights<'_>, ws: &mut Workspace) {
    let OctWeights { hh, hl, lh, ll, .. } = *weights;
    let pools = conv.pools();
    let [o_h, o_l] = conv.c_out;
    let turn = |w, c| conv.kernels(&[(w, c)], true);
    let to = |packed: &mut PackedWeights, group: usize, kernels: &[Kernel<'_>]| {
        let c = conv.c_in[group];
        packed.pack_panels(isa, c, panel_width(c, conv.groups), kernels, None);
    };
    let strided = conv.strided && conv.stride == 2;
    if !strided {
        to(&mut ws.fine[0], 0, &turn(hh, o_h));
        to(&mut ws.coarse[0], 0, &turn(hl, o_l));
    }
    let mut low = turn(lh, o_h);
    if pools {
        to(&mut ws.coarse[1], 1, &turn(ll, o_l));
    } else {
        low.extend(turn(ll, o_l));
    }
    to(&mut ws.fine[1], 1, &low);
}

/// The output gradients to bring in.
fn outputs<'a>(
    conv: &OctConv,
    dy_h: Option<&'a [f32]>,
    dy_l: Option<&'a [f32]>,
    needs: &Needs,
    high: &'a mut [BlockedMap; 2],
    low: &'a mut BlockedMap,
) -> Vec<Intake<'a>> {
    let [out_h, out_l] = conv.out_sizes();
    let pad = conv.border().max(if conv.strided {
        conv.kernel[0].max(conv.kernel[1])
    } else {
        0
    });
    let [full, sums] = high;
    let mut tensors = Vec::with_capacity(2);
    if needs.dy[0] || needs.dy[1] {
        tensors.push(Intake {
            from: dy_h.expect("the gradient of the high output"),
            dims: [conv.c_out[0], out_h[0], out_h[1]],
            pad,
            full: needs.dy[0].then_some(full),
            half: needs.dy[1].then_some(sums),
            quarter: None,
            sum: true,
        });
    }
    if needs.dy[2] {
        tensors.push(Intake {
            from: dy_l.expect("the gradient of the low output"),
            dims: [conv.c_out[1], out_l[0], out_l[1]],
            pad,
            full: Some(low),
            half: None,
            quarter: None,
            sum: false,
        });
    }
    tensors
}
