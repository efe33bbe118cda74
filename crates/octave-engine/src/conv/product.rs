use super::pack::PackedWeights;
use crate::map::BlockedMap;
use octave_plan::Activation;

/// A map that a product reads.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The map. Its border must be wide enough for the padding.
    pub map: &'a BlockedMap,
    /// First channel block to read; as many as the kernel has input channels.
    pub first_block: usize,
    /// Stride of the convolution, 1 or 2.
    pub stride: usize,
    /// Pixels that the convolution adds at the top and at the left.
    pub padding: [usize; 2],
}

impl<'a> Source<'a> {
    /// The whole map at stride 1, with `padding` on all sides.
    pub fn new(map: &'a BlockedMap, padding: usize) -> Self {
        Self {
            map,
            first_block: 0,
            stride: 1,
            padding: [padding, padding],
        }
    }

    /// The same with another stride.
    pub fn strided(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

/// Sum of convolutions at half the resolution of a product or of another coarse
/// sum, added to that upsampled (each pixel repeated 2×2, cropped to its size).
pub struct Coarse<'a> {
    /// Kernels of the sources; the bias is not used.
    pub weights: &'a PackedWeights,
    /// Maps, in the order of the kernels.
    pub sources: Vec<Source<'a>>,
    /// Spread instead of repeat: divide each pixel by the number of fine
    /// pixels under it (4, fewer at odd borders), which is the adjoint of
    /// average pooling.
    pub spread: bool,
}

/// Where a product goes.
pub enum Output<'a> {
    /// Channel blocks of a blocked map from the given one on.
    Map(&'a mut BlockedMap, usize),
    /// A contiguous NCHW tensor.
    Planar(&'a mut [f32]),
    /// A contiguous NCHW tensor of twice the height and width (as given), over
    /// which every pixel is spread: the adjoint of average pooling.
    Unpooled(&'a mut [f32], [usize; 2]),
    /// Nowhere: only the pooled map is wanted.
    Nowhere,
}

/// One group of output channels of a layer:
/// `activation(Σ sources + bias + residual + upsample(coarse))`.
pub struct Product<'a> {
    /// Kernels of the sources, and the bias.
    pub weights: &'a PackedWeights,
    /// Maps, in the order of the kernels.
    pub sources: Vec<Source<'a>>,
    /// Sums at a half, a quarter, … of the resolution; each is added to the one
    /// before it, and the first to the product.
    pub coarse: Vec<Coarse<'a>>,
    /// Map to add, of the shape of the output.
    pub residual: Option<&'a BlockedMap>,
    /// Applied last.
    pub activation: Activation,
    /// Images, height and width of the output.
    pub size: [usize; 3],
    /// The result.
    pub output: Output<'a>,
    /// 2×2 averages of the result, at the ceiling of half its size.
    pub pooled: Option<&'a mut BlockedMap>,
}

impl<'a> Product<'a> {
    /// `output = Σ sources + bias`, no more.
    pub fn new(
        weights: &'a PackedWeights,
        sources: Vec<Source<'a>>,
        size: [usize; 3],
        output: Output<'a>,
    ) -> Self {
        Self {
            weights,
            sources,
            coarse: Vec::new(),
            residual: None,
            activation: Activation::Identity,
            size,
            output,
            pooled: None,
        }
    }
}
