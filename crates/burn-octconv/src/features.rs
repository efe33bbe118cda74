use alloc::{
    format,
    string::{String, ToString},
};

use burn::tensor::{Device, Tensor};

#[cfg(feature = "flex")]
use crate::blocked::Blocked;
use crate::{
    FeatureError,
    ops::{
        activation::{self, Activation},
        resample::{self, half},
    },
};

#[cfg(feature = "flex")]
mod layout;

/// A multi-frequency feature map: a *high* group at full resolution, a *low* group one octave
/// below, or both.
///
/// # Shapes
///
/// - high: `[batch, channels_high, height, width]`
/// - low: `[batch, channels_low, ⌈height / 2⌉, ⌈width / 2⌉]`
///
/// The full resolution is remembered even where only the low group exists, so that an odd size
/// survives layers with α = 1. Shapes are checked here, once; code that receives an
/// `OctFeatures` need not check again that the groups fit each other.
///
/// What a layer returns on Flex without gradients may still have to be computed: the next layer
/// does so, in its own layout and together with the norm, the sum and the activation between the
/// two. Asking for a group as a tensor computes it, as [`OctFeatures::compute`] does.
///
/// Source: Chen et al., "Drop an Octave", section 3.1, <https://arxiv.org/abs/1904.05049>.
#[derive(Debug, Clone)]
pub struct OctFeatures {
    groups: Groups,
    size: [usize; 2],
}

#[derive(Debug, Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "a box would cost every plain map an allocation"
)]
enum Groups {
    /// High and low.
    Plain([Option<Tensor<4>>; 2]),
    /// In the layout of an engine.
    #[cfg(feature = "flex")]
    Blocked(Blocked),
}

impl OctFeatures {
    /// A feature map with both groups.
    ///
    /// # Panics
    ///
    /// If `low` is not one octave below `high`; [`OctFeatures::try_new`] returns the error instead.
    pub fn new(high: Tensor<4>, low: Tensor<4>) -> Self {
        let [_, _, height, width] = high.dims();
        Self::try_new(Some(high), Some(low), [height, width]).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A feature map of whichever groups there are, for a full resolution of
    /// `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Empty`] without any group, [`FeatureError::Resolution`] if the shapes do
    /// not belong together.
    pub fn try_new(
        high: Option<Tensor<4>>,
        low: Option<Tensor<4>>,
        size: [usize; 2],
    ) -> Result<Self, FeatureError> {
        let high_dims = high.as_ref().map(Tensor::dims);
        let low_dims = low.as_ref().map(Tensor::dims);
        let [batch, _, height, width] = match (high_dims, low_dims) {
            (Some(dims), _) => dims,
            (None, Some([batch, channels, ..])) => [batch, channels, size[0], size[1]],
            (None, None) => return Err(FeatureError::Empty),
        };
        let size = [height, width];
        if let Some(low) = low_dims {
            let [half_height, half_width] = half(size);
            if [low[0], low[2], low[3]] != [batch, half_height, half_width] {
                return Err(FeatureError::Resolution { size, batch, low });
            }
        }
        Ok(Self::plain([high, low], size))
    }

    fn plain(groups: [Option<Tensor<4>>; 2], size: [usize; 2]) -> Self {
        let groups = Groups::Plain(groups);
        Self { groups, size }
    }

    /// A plain full-resolution tensor: a feature map with no low group.
    pub fn from_high(high: Tensor<4>) -> Self {
        let [_, _, height, width] = high.dims();
        Self::plain([Some(high), None], [height, width])
    }

    /// A feature map with no high group, for a full resolution of `size = [height, width]`.
    ///
    /// # Panics
    ///
    /// If `low` is not one octave below `size`.
    pub fn from_low(low: Tensor<4>, size: [usize; 2]) -> Self {
        Self::try_new(None, Some(low), size).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Splits a plain tensor: the last `⌊alpha · channels⌋` channels are average-pooled and
    /// become the low group, the others stay as they are.
    ///
    /// # Panics
    ///
    /// If `alpha` lies outside `[0, 1]`.
    pub fn split(input: Tensor<4>, alpha: f64) -> Self {
        let [_, channels, height, width] = input.dims();
        let split = crate::ChannelSplit::new(channels, alpha).unwrap_or_else(|e| panic!("{e}"));
        let high = (split.high > 0).then(|| input.clone().narrow(1, 0, split.high));
        let low =
            (split.low > 0).then(|| resample::avg_pool(input.narrow(1, split.high, split.low)));
        Self::plain([high, low], [height, width])
    }

    /// Merges both groups into one plain tensor at full resolution: the low group is upsampled
    /// (nearest neighbour) and its channels follow those of the high group.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels_high + channels_low, height, width]`
    pub fn merge(self) -> Tensor<4> {
        let size = self.size;
        let (high, low) = self.into_parts();
        let low = low.map(|low| resample::upsample_nearest(low, size));
        match (high, low) {
            (Some(high), Some(low)) => Tensor::cat([high, low].into(), 1),
            (high, low) => high.or(low).expect("a feature map has at least one group"),
        }
    }

    /// The high group, `[batch, channels_high, height, width]`.
    pub fn high(&self) -> Option<&Tensor<4>> {
        self.tensors()[0].as_ref()
    }

    /// The low group, `[batch, channels_low, ⌈height / 2⌉, ⌈width / 2⌉]`.
    pub fn low(&self) -> Option<&Tensor<4>> {
        self.tensors()[1].as_ref()
    }

    fn tensors(&self) -> &[Option<Tensor<4>>; 2] {
        match &self.groups {
            Groups::Plain(groups) => groups,
            #[cfg(feature = "flex")]
            Groups::Blocked(map) => map.plain(),
        }
    }

    /// Computes what layers have left for the next one to do, and nothing if that is nothing: what
    /// to end a measurement with.
    pub fn compute(&self) {
        self.tensors();
    }

    /// Both groups, high first.
    pub fn into_parts(self) -> (Option<Tensor<4>>, Option<Tensor<4>>) {
        let [high, low] = match self.groups {
            Groups::Plain(groups) => groups,
            #[cfg(feature = "flex")]
            Groups::Blocked(map) => map.plain().clone(),
        };
        (high, low)
    }

    /// The plain tensor of a feature map that has no low group, as after a layer with
    /// `alpha_out = 0`.
    ///
    /// # Panics
    ///
    /// If there is a low group; use [`OctFeatures::merge`] to keep its channels.
    pub fn into_high(self) -> Tensor<4> {
        match self.into_parts() {
            (Some(high), None) => high,
            (_, low) => panic!(
                "expected a feature map with a high-frequency group only, but it has {} \
                 low-frequency channels: end with alpha_out = 0, or call merge()",
                low.map_or(0, |low| low.dims()[1])
            ),
        }
    }

    /// Full resolution, `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Channels of the groups, `[high, low]`; zero for a group that does not exist.
    pub fn channels(&self) -> [usize; 2] {
        self.shapes()
            .map(|group| group.map_or(0, |[_, channels, ..]| channels))
    }

    /// The device that holds the groups.
    pub fn device(&self) -> Device {
        match &self.groups {
            Groups::Plain([high, low]) => {
                let group = high.as_ref().or(low.as_ref());
                group
                    .expect("a feature map has at least one group")
                    .device()
            }
            #[cfg(feature = "flex")]
            Groups::Blocked(map) => map.device(),
        }
    }

    /// Applies `f` to every group: activations, dropout and whatever else keeps the resolution.
    ///
    /// # Panics
    ///
    /// If `f` changes a group's batch size or resolution.
    pub fn map(self, mut f: impl FnMut(Tensor<4>) -> Tensor<4>) -> Self {
        let size = self.size;
        let (high, low) = self.into_parts();
        let (high, low) = (high.map(&mut f), low.map(f));
        if let Some(high) = &high {
            let [_, _, height, width] = high.dims();
            assert_eq!(
                [height, width],
                size,
                "OctFeatures::map must keep the resolution; for pooling use the layers of this crate"
            );
        }
        Self::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Combines two feature maps group by group, as a residual sum does.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Mismatch`] if the two do not have the same groups and shapes.
    pub fn try_zip_with(
        self,
        other: Self,
        f: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
    ) -> Result<Self, FeatureError> {
        self.check_same(&other)?;
        let size = self.size;
        let join = |a: Option<_>, b: Option<_>| a.zip(b).map(|(a, b)| f(a, b));
        let (high, low) = self.into_parts();
        let (other_high, other_low) = other.into_parts();
        Ok(Self::plain(
            [join(high, other_high), join(low, other_low)],
            size,
        ))
    }

    /// Whether `other` has the same groups and shapes.
    pub(crate) fn check_same(&self, other: &Self) -> Result<(), FeatureError> {
        if self.shapes() == other.shapes() {
            return Ok(());
        }
        Err(FeatureError::Mismatch {
            left: self.describe(),
            right: other.describe(),
        })
    }

    /// Combines two feature maps group by group, as a residual sum does.
    ///
    /// # Panics
    ///
    /// If the two do not have the same groups and shapes.
    pub fn zip_with(self, other: Self, f: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>) -> Self {
        self.try_zip_with(other, f)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Its layout in words, such as `high [8, 32, 56, 56] + low [8, 32, 28, 28]`.
    pub fn describe(&self) -> String {
        match self.shapes() {
            [Some(high), Some(low)] => format!("high {high:?} + low {low:?}"),
            [Some(high), None] => format!("high {high:?}"),
            [None, Some(low)] => format!("low {low:?} of {:?}", self.size),
            [None, None] => "nothing".to_string(),
        }
    }

    fn shapes(&self) -> [Option<[usize; 4]>; 2] {
        match &self.groups {
            Groups::Plain(groups) => groups.each_ref().map(|x| x.as_ref().map(Tensor::dims)),
            #[cfg(feature = "flex")]
            Groups::Blocked(map) => map.dims().map(|dims| (dims[1] > 0).then_some(dims)),
        }
    }

    /// Applies an activation to both groups.
    pub fn activate(self, activation: Activation) -> Self {
        match self.groups {
            #[cfg(feature = "flex")]
            Groups::Blocked(map) => Self::from_blocked(map.activate(activation), self.size),
            groups => Self { groups, ..self }.map(|x| activation::activate(activation, x)),
        }
    }
}

impl From<Tensor<4>> for OctFeatures {
    fn from(high: Tensor<4>) -> Self {
        Self::from_high(high)
    }
}

impl core::ops::Add for OctFeatures {
    type Output = Self;

    /// The residual sum.
    ///
    /// # Panics
    ///
    /// If the two do not have the same groups and shapes.
    fn add(self, other: Self) -> Self {
        self.check_same(&other).unwrap_or_else(|e| panic!("{e}"));
        #[cfg(feature = "flex")]
        if self.meets_blocked(&other) {
            let size = self.size;
            return Self::from_blocked(self.blocked().add(other.blocked()), size);
        }
        self.zip_with(other, Tensor::add)
    }
}
