//! The end of a network: from pooled features to logits.
//!
//! Global average pooling lays the images of a batch side by side as the
//! pixels of one row (see [`global_average`](super::pool::global_average)), so
//! the classifier is a 1×1 convolution that reads each weight once per batch.

use crate::BLOCK;
use crate::conv::{Output, PackedWeights, Product, Source, run};
use crate::isa::Isa;
use crate::map::BlockedMap;

/// `logits[n][c_out] = weights · features + bias`, with features of shape
/// `[1, c, 1, n]`. `scratch` keeps the blocked result.
pub fn classify(
    isa: Isa,
    weights: &PackedWeights,
    features: &BlockedMap,
    scratch: &mut BlockedMap,
    logits: &mut [f32],
) {
    let [_, _, _, n] = features.dims();
    let classes = weights.c_out();
    assert_eq!(
        logits.len(),
        n * classes,
        "logits of {n} images, {classes} classes"
    );
    scratch.reset([1, classes, 1, n], 0);
    let sources = vec![Source::new(features, 0)];
    run(
        isa,
        vec![Product::new(
            weights,
            sources,
            [1, 1, n],
            Output::Map(scratch, 0),
        )],
    );
    let (block, data) = (scratch.block_stride(), scratch.as_slice());
    for (i, row) in logits.chunks_exact_mut(classes.max(1)).enumerate() {
        for (b, part) in row.chunks_mut(BLOCK).enumerate() {
            let from = b * block + i * BLOCK;
            part.copy_from_slice(&data[from..from + part.len()]);
        }
    }
}
