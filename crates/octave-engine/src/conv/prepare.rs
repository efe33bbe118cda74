//! Checks the shapes of a product and finds the addresses behind them, once,
//! so that jobs need not.

use super::pack::PackedWeights;
use super::tile::MAX_SOURCES;
use super::{Coarse, Output, Product, Source, SourceShape};
use crate::BLOCK;
use crate::buffer::{Shared, floats};
use crate::map::Planes;

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
    pub images: usize,
    pub height: usize,
    pub width: usize,
    pub bounds: [f32; 2],
}

/// Memory of a blocked map, for writing parts of it.
pub(super) type Target = Planes<*mut f32>;

/// A product, ready to run.
pub(super) struct Prepared<'a> {
    pub images: usize,
    pub fine: Sum<'a>,
    /// Each at half the resolution of the one before, and whether it is spread.
    pub coarse: Vec<(Sum<'a>, bool)>,
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
    let dims = [n, c_out, h, w];
    check_size(dims);
    let mut fine = sum(product.weights, &product.sources, product.size);
    fine.bounds = product.activation.bounds();
    let mut coarse: Vec<(Sum<'_>, bool)> = Vec::with_capacity(product.coarse.len());
    for next in product.coarse {
        let finer = coarse.last().map_or(&fine, |(sum, _)| sum);
        let next = coarse_sum(next, finer);
        coarse.push(next);
    }
    let residual = product.residual.map(|map| {
        assert_eq!(map.dims(), dims, "shape of the residual");
        // Only read: see `Prepared::compute`.
        map.planes().cast_mut()
    });
    let pooled = product.pooled.map(|map| {
        let half = [n, c_out, h.div_ceil(2), w.div_ceil(2)];
        assert_eq!(map.dims(), half, "shape of the pooled map");
        map.planes_mut()
    });
    let mut prepared = Prepared {
        images: n,
        fine,
        coarse,
        residual,
        map: None,
        planar: None,
        unpooled: None,
        pooled,
    };
    prepared.send_to(product.output, dims);
    prepared
}

/// Checks that what is computed from the size of an output later on fits.
fn check_size([n, c_out, h, w]: [usize; 4]) {
    floats("an output", &[n, c_out.next_multiple_of(BLOCK), h, w]);
}

/// The coarse sum behind a finer one, and whether it is spread.
fn coarse_sum<'a>(coarse: Coarse<'a>, finer: &Sum<'_>) -> (Sum<'a>, bool) {
    let [c_out, expected] = [coarse.weights, finer.weights].map(PackedWeights::c_out);
    assert_eq!(c_out, expected, "output channels of the coarse sum");
    let widths = |weights: &PackedWeights| -> Vec<usize> {
        weights.panels().iter().map(|panel| panel.width).collect()
    };
    let [widths, expected] = [widths(coarse.weights), widths(finer.weights)];
    assert_eq!(
        widths, expected,
        "panels of the fine and the coarse kernels"
    );
    let [height, width] = [finer.height, finer.width].map(|size| size.div_ceil(2));
    let size = [finer.images, height, width];
    (sum(coarse.weights, &coarse.sources, size), coarse.spread)
}

impl Prepared<'_> {
    /// Checks where the result goes, and remembers its addresses.
    fn send_to(&mut self, output: Output<'_>, dims: [usize; 4]) {
        let [n, c_out, h, w] = dims;
        match output {
            Output::Map(map, first) => {
                let [images, channels, height, width] = map.dims();
                assert_eq!([images, height, width], [n, h, w], "size of the output map");
                assert!(
                    first <= map.blocks() && channels.saturating_sub(first * BLOCK) >= c_out,
                    "an output map of {channels} channels for {c_out} from block {first} on"
                );
                self.map = Some(map.planes_mut().moved(0, first, 0));
            }
            Output::Planar(y) => {
                assert_eq!(y.len(), n * c_out * h * w, "elements of the output");
                self.planar = Some((Shared(y.as_mut_ptr()), c_out));
            }
            Output::Unpooled(y, [fh, fw]) => {
                let half = [fh.div_ceil(2), fw.div_ceil(2)];
                assert_eq!(half, [h, w], "half the size {fh}×{fw}");
                check_size([n, c_out, fh, fw]);
                assert_eq!(y.len(), n * c_out * fh * fw, "elements of the output");
                self.unpooled = Some((Shared(y.as_mut_ptr()), c_out, [fh, fw]));
            }
            Output::Nowhere => {}
        }
    }
}

/// Checks the sources of a sum and finds their addresses.
fn sum<'a>(
    weights: &'a PackedWeights,
    sources: &[Source<'_>],
    size @ [images, height, width]: [usize; 3],
) -> Sum<'a> {
    let (shapes, count) = (weights.shapes(), sources.len());
    assert_eq!(count, shapes.len(), "sources for the packed kernels");
    assert!(
        count <= MAX_SOURCES,
        "{count} sources, at most {MAX_SOURCES}"
    );
    let geometry = |(source, kernel)| {
        check_source(source, kernel, size);
        source_geometry(source)
    };
    Sum {
        weights,
        sources: sources.iter().zip(shapes).map(geometry).collect(),
        offsets: offsets(weights, sources),
        images,
        height,
        width,
        bounds: [f32::NEG_INFINITY, f32::INFINITY],
    }
}

/// Checks that a kernel over a source reaches no further than the source's border.
fn check_source(source: &Source<'_>, kernel: &SourceShape, [n, h, w]: [usize; 3]) {
    let (map, first) = (source.map, source.first_block);
    let ([images, c, height, width], pad) = (map.dims(), map.pad());
    assert_eq!(images, n, "images of a source");
    let (blocks, c_in) = (kernel.c_in.div_ceil(BLOCK), kernel.c_in);
    assert!(
        blocks <= map.blocks() && first <= map.blocks() - blocks,
        "a source of {c} channels for {c_in} from block {first} on"
    );
    let stride = source.stride;
    assert!(matches!(stride, 1 | 2), "stride {stride}");
    for (axis, (out, size)) in [(h, height), (w, width)].into_iter().enumerate() {
        let (taps, dilation) = (kernel.size[axis], kernel.dilation[axis]);
        let before = source.padding[axis];
        let reach = (out.max(1) - 1) * stride + (taps - 1) * dilation;
        assert!(
            before <= pad && reach < size + pad + before,
            "output size {out} from input size {size}: kernel {taps} × dilation {dilation}, \
             stride {stride}, padding {before} reaches past a border of {pad}"
        );
    }
    assert!(
        u32::try_from(map.image_stride()).is_ok(),
        "an image of over 2^32 floats"
    );
}

fn source_geometry(source: &Source<'_>) -> SourceGeometry {
    let (map, row) = (source.map, source.map.row_stride());
    let corner = source.padding[0] * row + source.padding[1] * BLOCK;
    let block = map
        .origin_ptr()
        .wrapping_add(source.first_block * map.block_stride());
    SourceGeometry {
        base: Shared(block.wrapping_sub(corner)),
        image: map.image_stride(),
        row,
        stride: source.stride,
    }
}

/// Where each step of the packed weights reads, from the first tap of its source on.
fn offsets(weights: &PackedWeights, sources: &[Source<'_>]) -> Vec<u32> {
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
    offsets
}
