//! Norms that could not be folded, and pooling, as operations of a network.

use burn::nn::BatchNorm;
use octave_plan::Refusal;

use super::builder::{Id, NetworkBuilder, OctMap, Op, Size};
use crate::{OctBatchNorm, conv::Statistics, lowered::scale_shift};
use octave_engine::{affine::AffineWeights, conv::Activation};

impl NetworkBuilder {
    /// A batch norm that could not be folded, with its running statistics, and an activation.
    ///
    /// # Errors
    ///
    /// Why the engine has no kernel for it.
    ///
    /// # Panics
    ///
    /// If the map is another builder's.
    pub fn batch_norm(
        &mut self,
        x: OctMap,
        norm: &OctBatchNorm,
        activation: Activation,
    ) -> Result<OctMap, Refusal> {
        self.check(x);
        let high = self.affine(x.group(0), norm.high.as_ref(), activation)?;
        let low = self.affine(x.group(1), norm.low.as_ref(), activation)?;
        Ok(self.oct_map([high, low], x.size))
    }

    /// The same of a vanilla norm.
    ///
    /// # Errors
    ///
    /// Why the engine has no kernel for it.
    ///
    /// # Panics
    ///
    /// If the map is another builder's.
    pub fn batch_norm2d(
        &mut self,
        x: OctMap,
        norm: &BatchNorm,
        activation: Activation,
    ) -> Result<OctMap, Refusal> {
        self.check(x);
        let high = self.affine(x.group(0), Some(norm), activation)?;
        let low = self.affine(x.group(1), None, activation)?;
        Ok(self.oct_map([high, low], x.size))
    }

    fn affine(
        &mut self,
        from: Option<Id>,
        norm: Option<&BatchNorm>,
        activation: Activation,
    ) -> Result<Option<Id>, Refusal> {
        let (from, norm) = match (from, norm) {
            (Some(from), Some(norm)) => (from, norm),
            (None, None) => return Ok(None),
            _ => return Err(Refusal::Shape),
        };
        let [scale, shift] = scale_shift(&Statistics::new(norm))?;
        let weights = AffineWeights::new(&scale, &shift);
        let map = self.maps[from];
        let to = self.map(map.channels, map.size);
        self.ops.push(Op::Affine {
            weights,
            activation,
            from,
            to,
            pooled: None,
        });
        Ok(Some(to))
    }

    /// 3×3 max pooling with stride 2 and padding 1 of a map without a low group.
    ///
    /// # Errors
    ///
    /// [`Refusal::Pooling`] if there is a low group.
    ///
    /// # Panics
    ///
    /// If the map is another builder's.
    pub fn max_pool(&mut self, x: OctMap) -> Result<OctMap, Refusal> {
        self.check(x);
        let (Some(from), None) = (x.group(0), x.group(1)) else {
            return Err(Refusal::Pooling);
        };
        let size = self.size(Size::Half(x.size));
        let to = self.map(self.maps[from].channels, size);
        self.ops.push(Op::MaxPool { from, to });
        Ok(self.plain(to, size))
    }
}
