//! Forward pass of an octave convolution.

use super::intake::{Intake, intake};
use super::{OctConv, OctWeights, Workspace, images_of, strided};
use crate::conv::{Coarse, Output, Product, Source, panel_width, run};
use crate::isa::Isa;
use crate::map::BlockedMap;

/// Computes `y_h` and `y_l` from `x_h` and `x_l`.
///
/// # Shapes
///
/// `[n, c, h, w]` each, contiguous; sizes and channels as `conv` says.
///
/// # Panics
///
/// If a tensor that a path needs is missing, or if lengths do not fit.
#[allow(clippy::too_many_arguments)]
pub fn octconv2d_forward(
    isa: Isa,
    conv: &OctConv,
    x_h: Option<&[f32]>,
    x_l: Option<&[f32]>,
    weights: &OctWeights<'_>,
    y_h: Option<&mut [f32]>,
    y_l: Option<&mut [f32]>,
    ws: &mut Workspace,
) {
    conv.check(weights);
    if strided::is_stem(conv, weights) {
        let (x, y) = (x_h.expect("a high input"), y_h.expect("a high output"));
        strided::stem_forward(isa, conv, x, weights, y, &mut ws.stem);
        return;
    }
    let (mut y_h, mut y_l) = (y_h, y_l);
    let pools = conv.pools();
    let [in_h, in_l] = conv.in_sizes();
    let [out_h, out_l] = conv.out_sizes();
    let OctWeights {
        hh,
        hl,
        lh,
        ll,
        bias_h,
        bias_l,
    } = *weights;
    let [c_h, c_l] = conv.c_in;
    let width = conv.c_out.map(|c| panel_width(c, conv.groups));
    if y_h.is_some() {
        let fine = conv.kernels(&[(hh, c_h), (lh.filter(|_| pools), c_l)], false);
        ws.fine[0].pack_panels(isa, conv.c_out[0], width[0], &fine, bias_h);
        let coarse = conv.kernels(&[(lh.filter(|_| !pools), c_l)], false);
        ws.coarse[0].pack_panels(isa, conv.c_out[0], width[0], &coarse, None);
    }
    if y_l.is_some() {
        let fine = conv.kernels(&[(hl, c_h), (ll, c_l)], false);
        ws.fine[1].pack_panels(isa, conv.c_out[1], width[1], &fine, bias_l);
    }

    let floats = c_h * in_h[0] * in_h[1] + c_l * in_l[0] * in_l[1];
    let at_once = conv.images_at_once(floats);
    for first in (0..conv.images).step_by(at_once) {
        let range = first..(first + at_once).min(conv.images);
        let n = range.len();
        bring_in(isa, conv, x_h, x_l, weights, &range, ws);
        let stride = if conv.strided { conv.stride } else { 1 };
        let source = |map| Source {
            stride,
            padding: conv.padding,
            ..Source::new(map, 0)
        };
        let [h, hp, hpp] = &ws.x_high;
        let [l, lp] = &ws.x_low;
        let mut products = Vec::with_capacity(2);
        if let Some(y) = y_h.as_deref_mut() {
            let mut sources = Vec::with_capacity(2);
            if hh.is_some() {
                sources.push(source(if pools { hp } else { h }));
            }
            if lh.is_some() && pools {
                sources.push(source(l));
            }
            let at = images_of(y, conv.images, &range);
            let output = Output::Planar(&mut y[at]);
            let mut p = Product::new(&ws.fine[0], sources, [n, out_h[0], out_h[1]], output);
            if lh.is_some() && !pools {
                let sources = vec![source(l)];
                p.coarse = Some(Coarse {
                    weights: &ws.coarse[0],
                    sources,
                    spread: false,
                });
            }
            products.push(p);
        }
        if let Some(y) = y_l.as_deref_mut() {
            let mut sources = Vec::with_capacity(2);
            if hl.is_some() {
                sources.push(source(if pools { hpp } else { hp }));
            }
            if ll.is_some() {
                sources.push(source(if pools { lp } else { l }));
            }
            let at = images_of(y, conv.images, &range);
            let output = Output::Planar(&mut y[at]);
            products.push(Product::new(
                &ws.fine[1],
                sources,
                [n, out_l[0], out_l[1]],
                output,
            ));
        }
        run(isa, products);
    }
}

/// Brings in the inputs, in the forms that the existing paths read.
pub(super) fn bring_in(
    isa: Isa,
    conv: &OctConv,
    x_h: Option<&[f32]>,
    x_l: Option<&[f32]>,
    weights: &OctWeights<'_>,
    range: &std::ops::Range<usize>,
    ws: &mut Workspace,
) {
    let tensors = inputs(conv, x_h, x_l, weights, &mut ws.x_high, &mut ws.x_low);
    intake(isa, tensors, range);
}

/// The inputs to bring in; see [`bring_in`].
pub(super) fn inputs<'a>(
    conv: &OctConv,
    x_h: Option<&'a [f32]>,
    x_l: Option<&'a [f32]>,
    weights: &OctWeights<'_>,
    high: &'a mut [BlockedMap; 3],
    low: &'a mut [BlockedMap; 2],
) -> Vec<Intake<'a>> {
    let OctWeights { hh, hl, lh, ll, .. } = *weights;
    let pools = conv.pools();
    let ([in_h, in_l], pad) = (conv.in_sizes(), conv.border());
    let [h, hp, hpp] = high;
    let [l, lp] = low;
    let mut tensors = Vec::with_capacity(4);
    if hh.is_some() || hl.is_some() {
        tensors.push(Intake {
            from: x_h.expect("a high input"),
            dims: [conv.c_in[0], in_h[0], in_h[1]],
            pad,
            full: (hh.is_some() && !pools).then_some(h),
            half: if pools { hh.is_some() } else { hl.is_some() }.then_some(hp),
            quarter: (pools && hl.is_some()).then_some(hpp),
            sum: false,
        });
    }
    if lh.is_some() || ll.is_some() {
        tensors.push(Intake {
            from: x_l.expect("a low input"),
            dims: [conv.c_in[1], in_l[0], in_l[1]],
            pad,
            full: (lh.is_some() || !pools).then_some(l),
            half: (pools && ll.is_some()).then_some(lp),
            quarter: None,
            sum: false,
        });
    }
    tensors
}
