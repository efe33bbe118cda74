//! Who is told what a training loop does.

use crate::history::EpochRow;

/// Listens to a run. Nothing that it does changes the run.
pub(crate) trait Listener: Send {
    /// The weights were updated, for the `number`-th time, by batches with these losses of their images.
    fn update(&mut self, number: usize, losses: &[f32], rate: f64);

    /// A batch of validation images, by their places in their list, was answered with these logits,
    /// `[image, class]`.
    fn validated(&mut self, images: &[usize], targets: &[i64], logits: &[f32]);

    /// An epoch came to its end with the `update`-th update.
    fn epoch(&mut self, row: &EpochRow, update: usize);

    /// A checkpoint is about to be saved, from which the run may go on.
    fn saving(&mut self);
}
