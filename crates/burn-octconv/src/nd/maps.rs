use alloc::{format, string::String, vec, vec::Vec};

use burn::tensor::{Device, Tensor, activation::relu};
use octave_plan::half_size;

use super::{
    MapsError, resample,
    split::{shares_of, split_channels},
};
use crate::ops::norm::{Activation, activate};

mod pool;

/// A feature map over `D` axes in any number of frequencies, kept in tensors of rank `R = D + 2`:
/// group `l` of channels has 1/2ˡ of the full resolution along the octave axes.
///
/// What [`OctConv1d`](crate::OctConv1d), [`OctConv3d`](crate::OctConv3d),
/// [`MultiOctConv2d`](crate::MultiOctConv2d) and the transposed layers take and give. A plain tensor
/// is one with a single group, and an [`OctFeatures`](crate::OctFeatures) one of two groups over two
/// axes; both convert.
///
/// # Shapes
///
/// - group `l`: `[batch, channels_l, ⌈size / 2ˡ⌉ …]`; axes that are not halved keep their size
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_octconv::OctMaps;
///
/// // Eight frames of 9×12 pixels: time is kept, height and width are halved.
/// let video = Tensor::<5>::ones([2, 8, 8, 9, 12], &Device::default());
/// let maps = OctMaps::split(video, &[0.5, 0.25, 0.25], [false, true, true])?;
/// assert_eq!(maps.channels(), [4, 2, 2]);
/// assert_eq!(maps.group(2).unwrap().dims(), [2, 2, 8, 3, 3]);
/// assert_eq!(maps.merge().dims(), [2, 8, 8, 9, 12]);
/// # Ok::<(), burn_octconv::MapsError>(())
/// ```
///
/// Source: Chen et al., "Drop an Octave", section 3.1, <https://arxiv.org/abs/1904.05049>, which
/// names any power of two; more than two groups as in Rownicka et al., "Multi-scale Octave
/// Convolutions for Robust Speech Recognition", <https://arxiv.org/abs/1910.14443>.
#[derive(Debug, Clone)]
pub struct OctMaps<const D: usize, const R: usize> {
    groups: Vec<Option<Tensor<R>>>,
    size: [usize; D],
    octave_axes: [bool; D],
}

impl<const D: usize, const R: usize> OctMaps<D, R> {
    /// A feature map of the groups that there are, from the full resolution down, for a full
    /// resolution of `size`.
    ///
    /// # Errors
    ///
    /// [`MapsError::Empty`] without any group, [`MapsError::Resolution`] if a group does not have
    /// the batch size of the first or the resolution of its level.
    pub fn new(
        groups: Vec<Option<Tensor<R>>>,
        size: [usize; D],
        octave_axes: [bool; D],
    ) -> Result<Self, MapsError> {
        const { assert!(R == D + 2, "a map over D axes is a tensor of rank D + 2") };
        let mut groups = groups;
        while groups.last().is_some_and(Option::is_none) {
            groups.pop();
        }
        let first = groups.iter().flatten().next().ok_or(MapsError::Empty)?;
        let batch = first.dims()[0];
        let maps = Self {
            groups,
            size,
            octave_axes,
        };
        for (level, group) in maps.groups.iter().enumerate() {
            let Some(group) = group else { continue };
            let (expected, actual) = (maps.level_size(level), group.dims());
            if actual[0] != batch || actual[2..] != expected {
                return Err(MapsError::Resolution {
                    level,
                    batch,
                    size: size.into(),
                    expected: expected.into(),
                    actual: actual.into(),
                });
            }
        }
        Ok(maps)
    }

    /// A plain tensor: a feature map with a single group at full resolution.
    pub fn from_full(full: Tensor<R>) -> Self {
        let dims = full.dims();
        Self {
            groups: vec![Some(full)],
            size: core::array::from_fn(|a| dims[2 + a]),
            octave_axes: [true; D],
        }
    }

    /// Splits a plain tensor: [`split_channels`](crate::split_channels) says how many channels go to
    /// each group; the first stay as they are, those of group `l` are average-pooled by 2 `l` times
    /// along the octave axes.
    ///
    /// # Errors
    ///
    /// [`MapsError::Shares`] if the shares do not split the channels.
    pub fn split(
        input: Tensor<R>,
        shares: &[f64],
        octave_axes: [bool; D],
    ) -> Result<Self, MapsError> {
        let full = Self {
            octave_axes,
            ..Self::from_full(input)
        };
        full.with_shares(shares)
    }

    /// Merges all groups into one plain tensor at full resolution: each is upsampled (nearest
    /// neighbour), and their channels follow each other.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels, …]` of the full resolution, all channels together
    pub fn merge(self) -> Tensor<R> {
        let count = self.groups.len();
        let groups = (0..count).filter_map(|level| self.at_level(level, 0));
        join(groups.collect()).expect("a feature map has at least one group")
    }

    /// The channels of a group at the resolution of another one.
    fn at_level(&self, from: usize, to: usize) -> Option<Tensor<R>> {
        let mut x = self.groups.get(from)?.clone()?;
        for _ in from..to {
            x = resample::avg_pool(x, self.octave_axes);
        }
        for level in (to..from).rev() {
            x = resample::upsample_nearest(x, self.octave_axes, self.level_size(level));
        }
        Some(x)
    }

    /// The same channels, shared out among the groups by other shares. A channel that moves down is
    /// average-pooled, one that moves up repeated; the others stay as they are.
    ///
    /// # Errors
    ///
    /// [`MapsError::Shares`] if the shares do not split the channels.
    pub fn with_shares(self, shares: &[f64]) -> Result<Self, MapsError> {
        let old = self.channels();
        let new = split_channels(old.iter().sum(), shares)?;
        let spans = |counts: &[usize]| {
            let mut start = 0;
            let mut span = |&count: &usize| {
                start += count;
                start - count..start
            };
            counts.iter().map(&mut span).collect::<Vec<_>>()
        };
        let (old, new) = (spans(&old), spans(&new));
        let group = |(to, new): (usize, &core::ops::Range<usize>)| {
            let parts = old.iter().enumerate().filter_map(|(from, old)| {
                let (start, end) = (new.start.max(old.start), new.end.min(old.end));
                let length = end.checked_sub(start).filter(|&length| length > 0)?;
                let part = Self {
                    groups: self.groups.clone(),
                    ..self
                };
                let part = part.channels_of(from, start - old.start, length);
                part.at_level(from, to)
            });
            join(parts.collect())
        };
        let groups = new.iter().enumerate().map(group).collect();
        Self::new(groups, self.size, self.octave_axes)
    }

    /// With `length` channels of one group only.
    fn channels_of(mut self, level: usize, start: usize, length: usize) -> Self {
        let group = self.groups[level].take();
        self.groups[level] = group.map(|x| resample::narrow(x, 1, start, length));
        self
    }

    /// The same channels with a share `alpha` of them one octave below:
    /// [`with_shares`](Self::with_shares) of `[1 − alpha, alpha]`.
    ///
    /// # Errors
    ///
    /// [`MapsError::Shares`] if `alpha` is not a number in `[0, 1]`.
    pub fn with_alpha(self, alpha: f64) -> Result<Self, MapsError> {
        self.with_shares(&[1.0 - alpha, alpha])
    }

    /// A group, `[batch, channels_l, ⌈size / 2ˡ⌉ …]`, if it exists.
    pub fn group(&self, level: usize) -> Option<&Tensor<R>> {
        self.groups.get(level)?.as_ref()
    }

    /// All groups, from the full resolution to the lowest that exists.
    pub fn into_groups(self) -> Vec<Option<Tensor<R>>> {
        self.groups
    }

    /// The plain tensor of a feature map that has a single group at full resolution, as after a
    /// layer with `shares_out = [1]`.
    ///
    /// # Panics
    ///
    /// If there are other groups; use [`OctMaps::merge`] to keep their channels.
    pub fn into_full(mut self) -> Tensor<R> {
        match (self.groups.len(), self.groups.pop().flatten()) {
            (1, Some(full)) => full,
            (_, last) => panic!(
                "expected a feature map with one group at full resolution, but it has others, the \
                 lowest of them {:?}: end with shares_out = [1], or call merge()",
                last.map(|x| x.dims())
            ),
        }
    }

    /// Full resolution.
    pub fn size(&self) -> [usize; D] {
        self.size
    }

    /// Which axes are halved from group to group.
    pub fn octave_axes(&self) -> [bool; D] {
        self.octave_axes
    }

    /// The resolution of a group.
    pub fn level_size(&self, level: usize) -> [usize; D] {
        (0..level).fold(self.size, |size, _| half_size(size, self.octave_axes))
    }

    /// Channels of each group; zero for one that does not exist.
    pub fn channels(&self) -> Vec<usize> {
        let channels = |group: &Option<Tensor<R>>| group.as_ref().map_or(0, |x| x.dims()[1]);
        self.groups.iter().map(channels).collect()
    }

    /// Shares that split the sum of the channels into those that each group has: what the layer
    /// that reads this map has as `shares_in`, whatever it was made of.
    pub fn shares(&self) -> Vec<f64> {
        shares_of(&self.channels())
    }

    /// Batch size.
    pub fn batch(&self) -> usize {
        self.any().dims()[0]
    }

    /// The device that holds the groups.
    pub fn device(&self) -> Device {
        self.any().device()
    }

    fn any(&self) -> &Tensor<R> {
        let mut groups = self.groups.iter().flatten();
        groups.next().expect("a feature map has at least one group")
    }

    /// Its layout in words, such as `[8, 32, 56, 56] + [8, 16, 28, 28] + nothing + …`.
    pub fn describe(&self) -> String {
        let words = |group: &Option<Tensor<R>>| match group {
            Some(x) => format!("{:?}", x.dims()),
            None => String::from("nothing"),
        };
        let words: Vec<String> = self.groups.iter().map(words).collect();
        let mut words = words.join(" + ");
        if self.groups[0].is_none() {
            words += &format!(" of {:?}", self.size);
        }
        if self.groups.len() > 1 && self.octave_axes != [true; D] {
            words += &format!(" halving {:?}", self.octave_axes);
        }
        words
    }

    /// Applies `f` to every group: activations, dropout and whatever else keeps the resolution.
    ///
    /// # Panics
    ///
    /// If `f` changes a group's batch size or resolution.
    pub fn map(self, mut f: impl FnMut(Tensor<R>) -> Tensor<R>) -> Self {
        let (size, axes) = (self.size, self.octave_axes);
        let groups = self.groups.into_iter().map(|x| x.map(&mut f)).collect();
        Self::new(groups, size, axes).unwrap_or_else(|e| panic!("OctMaps::map: {e}"))
    }

    /// Rectified linear unit on every group.
    pub fn relu(self) -> Self {
        self.map(relu)
    }

    /// Applies an activation to every group.
    pub fn activate(self, activation: Activation) -> Self {
        self.map(|x| {
            let dims = x.dims();
            resample::reshape(activate(activation, planes(x)), dims)
        })
    }

    /// Combines two feature maps group by group, as a residual sum does.
    ///
    /// # Errors
    ///
    /// [`MapsError::Mismatch`] if the two do not have the same groups and shapes.
    pub fn try_zip_with(
        self,
        other: Self,
        f: impl Fn(Tensor<R>, Tensor<R>) -> Tensor<R>,
    ) -> Result<Self, MapsError> {
        self.check_same(&other)?;
        let pairs = self.groups.into_iter().zip(other.groups);
        let groups = pairs.map(|(a, b)| a.zip(b).map(|(a, b)| f(a, b))).collect();
        Ok(Self { groups, ..self })
    }

    /// Whether `other` has the same groups and shapes.
    pub(super) fn check_same(&self, other: &Self) -> Result<(), MapsError> {
        let shapes = |maps: &Self| -> Vec<_> {
            let groups = maps.groups.iter();
            groups.map(|x| x.as_ref().map(Tensor::dims)).collect()
        };
        match shapes(self) == shapes(other) && self.halves_as(other) {
            true => Ok(()),
            false => Err(self.mismatch(other)),
        }
    }

    /// Whether both halve the same axes, where it shows.
    fn halves_as(&self, other: &Self) -> bool {
        let shows = self.groups.len() > 1 && other.groups.len() > 1;
        !shows || self.octave_axes == other.octave_axes
    }

    fn mismatch(&self, other: &Self) -> MapsError {
        MapsError::Mismatch {
            left: self.describe(),
            right: other.describe(),
        }
    }

    /// Combines two feature maps group by group, as a residual sum does.
    ///
    /// # Panics
    ///
    /// If the two do not have the same groups and shapes.
    pub fn zip_with(self, other: Self, f: impl Fn(Tensor<R>, Tensor<R>) -> Tensor<R>) -> Self {
        self.try_zip_with(other, f)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Puts the channels of two maps side by side, group by group, as the skips of a U-Net and dense
    /// blocks do. A group that only one of them has stays as it is. [`OctMaps::shares`] of the result
    /// are those that the next layer reads.
    ///
    /// # Errors
    ///
    /// [`MapsError::Mismatch`] if batch size, full resolution or octave axes differ.
    pub fn concat(self, other: Self) -> Result<Self, MapsError> {
        let same = self.size == other.size && self.batch() == other.batch();
        if !same || !self.halves_as(&other) {
            return Err(self.mismatch(&other));
        }
        // A plain tensor knows no axes.
        let octave_axes = match self.groups.len() {
            1 => other.octave_axes,
            _ => self.octave_axes,
        };
        let (size, count) = (self.size, self.groups.len().max(other.groups.len()));
        let mut sides = [self.groups.into_iter(), other.groups.into_iter()];
        let level = |_| {
            let sides = sides.each_mut().map(|side| side.next().flatten());
            join(sides.into_iter().flatten().collect())
        };
        Self::new((0..count).map(level).collect(), size, octave_axes)
    }
}

/// A group's map as planes `[batch, channels, rows, columns]`, for what treats all pixels alike.
pub(super) fn planes<const R: usize>(x: Tensor<R>) -> Tensor<4> {
    let dims = x.dims();
    let pixels = dims[3.min(R)..].iter().product();
    resample::reshape(x, [dims[0], dims[1], dims[2], pixels])
}

/// Side by side along the channels.
pub(super) fn join<const R: usize>(mut parts: Vec<Tensor<R>>) -> Option<Tensor<R>> {
    match parts.len() {
        0 | 1 => parts.pop(),
        _ => Some(Tensor::cat(parts, 1)),
    }
}

impl<const D: usize, const R: usize> From<Tensor<R>> for OctMaps<D, R> {
    fn from(full: Tensor<R>) -> Self {
        Self::from_full(full)
    }
}

impl<const D: usize, const R: usize> core::ops::Add for OctMaps<D, R> {
    type Output = Self;

    /// The residual sum.
    ///
    /// # Panics
    ///
    /// If the two do not have the same groups and shapes.
    fn add(self, other: Self) -> Self {
        self.zip_with(other, Tensor::add)
    }
}
