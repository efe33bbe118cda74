//! What [`OctMaps`] can do, for an [`OctFeatures`]: a map of two groups over two axes.

use super::{MapsError, OctMaps};
use crate::OctFeatures;

impl From<OctFeatures> for OctMaps<2, 4> {
    fn from(features: OctFeatures) -> Self {
        let size = features.size();
        let (high, low) = features.into_parts();
        Self::new([high, low].into(), size, [true; 2]).unwrap_or_else(|e| panic!("{e}"))
    }
}

impl TryFrom<OctMaps<2, 4>> for OctFeatures {
    type Error = MapsError;

    /// # Errors
    ///
    /// [`MapsError::Channels`] if there are more than two groups, [`MapsError::Axes`] if one axis
    /// is not halved.
    fn try_from(maps: OctMaps<2, 4>) -> Result<Self, MapsError> {
        let (size, axes, channels) = (maps.size(), maps.octave_axes(), maps.channels());
        if let [high, low, _, ..] = channels[..] {
            return Err(MapsError::Channels {
                expected: [high, low].into(),
                actual: channels,
            });
        }
        if channels.len() > 1 && axes != [true; 2] {
            return Err(MapsError::Axes {
                layer: [true; 2].into(),
                map: axes.into(),
            });
        }
        let mut groups = maps.into_groups().into_iter();
        let mut next = || groups.next().flatten();
        let (high, low) = (next(), next());
        Ok(Self::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}")))
    }
}

impl OctFeatures {
    fn change(
        self,
        f: impl FnOnce(OctMaps<2, 4>) -> Result<OctMaps<2, 4>, MapsError>,
    ) -> Result<Self, MapsError> {
        f(self.into())?.try_into()
    }

    /// Puts the channels of two maps side by side, group by group, as the skips of a U-Net and dense
    /// blocks do. A group that only one of them has stays as it is.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::OctFeatures;
    ///
    /// let x = OctFeatures::split(Tensor::ones([1, 8, 6, 9], &Device::default()), 0.5);
    /// let skip = OctFeatures::split(Tensor::ones([1, 4, 6, 9], &Device::default()), 0.25);
    /// assert_eq!(x.concat(skip)?.channels(), [7, 5]);
    /// # Ok::<(), burn_octconv::MapsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MapsError::Mismatch`] if batch size or full resolution differ.
    pub fn concat(self, other: Self) -> Result<Self, MapsError> {
        #[cfg(feature = "flex")]
        let (this, other) = match self.beside(other) {
            Ok(map) => return Ok(map),
            Err([this, other]) => (this, other),
        };
        #[cfg(not(feature = "flex"))]
        let this = self;
        this.change(|maps| maps.concat(other.into()))
    }

    /// The same channels with a share `alpha` of them in the low group. A channel that moves down is
    /// average-pooled, one that moves up repeated; the others stay as they are.
    ///
    /// # Errors
    ///
    /// [`MapsError::Shares`] if `alpha` is not a number in `[0, 1]`.
    pub fn with_alpha(self, alpha: f64) -> Result<Self, MapsError> {
        self.change(|maps| maps.with_alpha(alpha))
    }

    /// The part of `size = [height, width]` that begins at `start = [row, column]`.
    ///
    /// # Errors
    ///
    /// [`MapsError::Outside`] if the map has no such part; [`MapsError::Alignment`] if there is a low
    /// group and `start` is odd.
    pub fn crop(self, start: [usize; 2], size: [usize; 2]) -> Result<Self, MapsError> {
        self.change(|maps| maps.crop(start, size))
    }

    /// Adds zeros, `[(top, bottom), (left, right)]` pixels of the full resolution.
    ///
    /// # Errors
    ///
    /// [`MapsError::Alignment`] if there is a low group and the padding at the top or the left is
    /// odd.
    pub fn pad(self, padding: [(usize, usize); 2]) -> Result<Self, MapsError> {
        self.change(|maps| maps.pad(padding))
    }
}
