//! Checks the shapes of a product and finds the addresses behind them, once,
//! so that jobs need not.

use super::pack::PackedWeights;
use super::tile::MAX_SOURCES;
use super::{Output, Product, Source};
use crate::BLOCK;
use crate::buffer::{Shared, floats};
use crate::map::BlockedMap;

/// Addresses of a source.
pub(super) struct SourceGeometry {
    /// Tap (0, 0) of output pixel (0, 0) of image 0.
    pub base: Shared<*const f32>,
    pub image: usize,
    pub row: usize,
    pub stride: usize,
}

/// One sum of convolutions, ready to run: the fine or the coarse part.
pub(super) struct Sum<'a> {
    pub weights: &'a PackedWeights,
    pub sources: Vec<SourceGeometry>,
    /// Per step of the packed weights.
    pub offsets: Vec<u32>,
    pub height: usize,
    pub width: usize,
    pub bounds: [f32; 2],
}

/// Memory of a blocked map, for writing parts of it.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub origin: Shared<*mut f32>,
    pub image: usize,
    pub block: usize,
    pub row: usize,
}

impl Target {
    /// The same memory from another image, block and row on.
    pub(super) fn moved(self, image: usize, block: usize, row: usize) -> Self {
        let at = image * self.image + block * self.block + row * self.row;
        Self {
            origin: Shared(self.origin.get().wrapping_add(at)),
            ..self
        }
    }
}

/// A product, ready to run.
pub(super) struct Prepared<'a> {
    pub images: usize,
    pub fine: Sum<'a>,
    pub coarse: Option<(Sum<'a>, bool)>,
    pub residual: Option<Target>,
    pub map: Option<Target>,
    pub planar: Option<(Shared<*mut f32>, usize)>,
    /// Output, channels and size of the result of `Output::Unpooled`.
    pub unpooled: Option<(Shared<*mut f32>, usize, [usize; 2])>,
    pub pooled: Option<Target>,
}

pub(super) fn prepare(product: Product<'_>) -> Prepared<'_> {
    let [n, h, w] = product.size;
    let c_out = product.weights.c_out();
    // What is computed from the size later on fits.
    let elements = |h, w| floats("an output", &[n, c_out.next_multiple_of(BLOCK), h, w]);
    elements(h, w);
    let mut fine = sum(product.weights, &product.sources, n, h, w);
    fine.bounds = product.activation.bounds();
    let coarse = product.coarse.map(|c| {
        assert_eq!(
            c.weights.c_out(),
            c_out,
            "output channels of the coarse sum"
        );
        (
            sum(c.weights, &c.sources, n, h.div_ceil(2), w.div_ceil(2)),
            c.spread,
        )
    });
    if let Some((c, _)) = &coarse {
        let widths = |s: &Sum<'_>| {
            s.weights
                .panels()
                .iter()
                .map(|p| p.width)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            widths(c),
            widths(&fine),
            "panels of the fine and the coarse kernels"
        );
    }
    let residual = product.residual.map(|map| {
        assert_eq!(map.dims(), [n, c_out, h, w], "shape of the residual");
        // Only read: see `Prepared::compute`.
        target(map, map.origin_ptr().cast_mut())
    });
    let (mut map, mut planar, mut unpooled) = (None, None, None);
    match product.output {
        Output::Map(m, first) => {
            let [mn, mc, mh, mw] = m.dims();
            assert_eq!([mn, mh, mw], [n, h, w], "size of the output map");
            assert!(
                first <= m.blocks() && mc.saturating_sub(first * BLOCK) >= c_out,
                "an output map of {mc} channels for {c_out} from block {first} on"
            );
            let origin = m.origin_mut_ptr();
            map = Some(target(m, origin).moved(0, first, 0));
        }
        Output::Planar(y) => {
            assert_eq!(y.len(), n * c_out * h * w, "elements of the output");
            planar = Some((Shared(y.as_mut_ptr()), c_out));
        }
        Output::Unpooled(y, [fh, fw]) => {
            assert_eq!(
                [fh.div_ceil(2), fw.div_ceil(2)],
                [h, w],
                "half the size {fh}×{fw}"
            );
            elements(fh, fw);
            assert_eq!(y.len(), n * c_out * fh * fw, "elements of the output");
            unpooled = Some((Shared(y.as_mut_ptr()), c_out, [fh, fw]));
        }
        Output::Nowhere => {}
    }
    let pooled = product.pooled.map(|m| {
        assert_eq!(
            m.dims(),
            [n, c_out, h.div_ceil(2), w.div_ceil(2)],
            "shape of the pooled map"
        );
        let origin = m.origin_mut_ptr();
        target(m, origin)
    });
    Prepared {
        images: n,
        fine,
        coarse,
        residual,
        map,
        planar,
        unpooled,
        pooled,
    }
}

fn target(map: &BlockedMap, origin: *mut f32) -> Target {
    Target {
        origin: Shared(origin),
        image: map.image_stride(),
        block: map.block_stride(),
        row: map.row_stride(),
    }
}

/// Checks the sources of a sum and finds their addresses.
fn sum<'a>(
    weights: &'a PackedWeights,
    sources: &[Source<'a>],
    n: usize,
    h: usize,
    w: usize,
) -> Sum<'a> {
    assert_eq!(
        sources.len(),
        weights.shapes().len(),
        "sources for the packed kernels"
    );
    assert!(
        sources.len() <= MAX_SOURCES,
        "{} sources, at most {MAX_SOURCES}",
        sources.len()
    );
    let mut geometry = Vec::with_capacity(sources.len());
    for (s, k) in sources.iter().zip(weights.shapes()) {
        let [images, c, height, width] = s.map.dims();
        assert_eq!(images, n, "images of a source");
        let blocks = k.c_in.div_ceil(BLOCK);
        assert!(
            blocks <= s.map.blocks() && s.first_block <= s.map.blocks() - blocks,
            "a source of {c} channels for {} from block {} on",
            k.c_in,
            s.first_block
        );
        assert!(matches!(s.stride, 1 | 2), "stride {}", s.stride);
        for (axis, (out, size)) in [(h, height), (w, width)].into_iter().enumerate() {
            let before = s.padding[axis];
            let reach = (out.max(1) - 1) * s.stride + (k.size[axis] - 1) * k.dilation[axis];
            assert!(
                before <= s.map.pad() && reach < size + s.map.pad() + before,
                "output size {out} from input size {size}: kernel {} × dilation {}, stride {}, \
                 padding {before} reaches past a border of {}",
                k.size[axis],
                k.dilation[axis],
                s.stride,
                s.map.pad()
            );
        }
        assert!(
            u32::try_from(s.map.image_stride()).is_ok(),
            "an image of over 2^32 floats"
        );
        let (row, block) = (s.map.row_stride(), s.map.block_stride());
        let corner = s.padding[0] * row + s.padding[1] * BLOCK;
        geometry.push(SourceGeometry {
            base: Shared(
                s.map
                    .origin_ptr()
                    .wrapping_add(s.first_block * block)
                    .wrapping_sub(corner),
            ),
            image: s.map.image_stride(),
            row,
            stride: s.stride,
        });
    }
    let mut offsets = vec![0; weights.steps().len()];
    for panel in weights.panels() {
        for (s, range) in panel.steps.iter().enumerate() {
            let (map, dilation) = (sources[s].map, weights.shapes()[s].dilation);
            for i in range.clone() {
                let step = weights.steps()[i];
                let offset = step.block * map.block_stride()
                    + step.tap[0] * dilation[0] * map.row_stride()
                    + step.tap[1] * dilation[1] * BLOCK;
                offsets[i] = offset as u32;
            }
        }
        if panel.first == 0 && weights.shapes().iter().all(|k| k.groups == 1) {
            break; // All panels share one list of steps.
        }
    }
    Sum {
        weights,
        sources: geometry,
        offsets,
        height: h,
        width: w,
        bounds: [f32::NEG_INFINITY, f32::INFINITY],
    }
}
