//! What flows from block to block: maps in two frequencies, or in more.

use burn::tensor::Tensor;
use burn_octconv::{OctFeatures, OctMaps, ops::norm::Activation};

/// A map in any number of frequencies, as the blocks of a network pass it on.
#[derive(Debug, Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all maps are of two frequencies, which a box would cost an allocation"
)]
pub enum Features {
    /// In no more than two.
    Octave(OctFeatures),
    /// In more than two.
    Many(OctMaps<2, 4>),
}

impl From<OctFeatures> for Features {
    fn from(features: OctFeatures) -> Self {
        Self::Octave(features)
    }
}

impl From<OctMaps<2, 4>> for Features {
    fn from(maps: OctMaps<2, 4>) -> Self {
        match maps.channels().len() {
            0..=2 => Self::Octave(OctFeatures::try_from(maps).unwrap_or_else(|e| panic!("{e}"))),
            _ => Self::Many(maps),
        }
    }
}

impl From<Tensor<4>> for Features {
    fn from(high: Tensor<4>) -> Self {
        Self::Octave(high.into())
    }
}

impl Features {
    /// The map, whatever its frequencies.
    pub fn into_maps(self) -> OctMaps<2, 4> {
        match self {
            Self::Octave(features) => features.into(),
            Self::Many(maps) => maps,
        }
    }

    /// The map of two frequencies.
    ///
    /// # Panics
    ///
    /// If there are more; use [`Features::into_maps`].
    pub fn into_octave(self) -> OctFeatures {
        match self {
            Self::Octave(features) => features,
            Self::Many(maps) => panic!(
                "expected a map in no more than two frequencies, got {}: use into_maps()",
                maps.describe()
            ),
        }
    }

    /// Full resolution, `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        match self {
            Self::Octave(features) => features.size(),
            Self::Many(maps) => maps.size(),
        }
    }
}

/// A map that blocks compute with: [`OctFeatures`] or [`OctMaps`].
pub trait OctaveMap: core::ops::Add<Output = Self> + Clone + Into<Features> {
    /// The map of this kind.
    ///
    /// # Panics
    ///
    /// If it has more frequencies than this kind holds.
    fn of(features: Features) -> Self;

    /// Full resolution, `[height, width]`.
    fn size(&self) -> [usize; 2];

    /// Applies an activation to every group.
    fn activate(self, activation: Activation) -> Self;

    /// The groups, from the full resolution down.
    fn into_groups(self) -> Vec<Option<Tensor<4>>>;

    /// The map of these groups.
    ///
    /// # Panics
    ///
    /// If they do not form one of full resolution `size`.
    fn of_groups(groups: Vec<Option<Tensor<4>>>, size: [usize; 2]) -> Self;
}

impl OctaveMap for OctFeatures {
    fn of(features: Features) -> Self {
        features.into_octave()
    }

    fn size(&self) -> [usize; 2] {
        self.size()
    }

    fn activate(self, activation: Activation) -> Self {
        self.activate(activation)
    }

    fn into_groups(self) -> Vec<Option<Tensor<4>>> {
        let (high, low) = self.into_parts();
        vec![high, low]
    }

    fn of_groups(groups: Vec<Option<Tensor<4>>>, size: [usize; 2]) -> Self {
        let mut groups = groups.into_iter();
        let mut next = || groups.next().flatten();
        let (high, low) = (next(), next());
        Self::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
    }
}

impl OctaveMap for OctMaps<2, 4> {
    fn of(features: Features) -> Self {
        features.into_maps()
    }

    fn size(&self) -> [usize; 2] {
        self.size()
    }

    fn activate(self, activation: Activation) -> Self {
        self.activate(activation)
    }

    fn into_groups(self) -> Vec<Option<Tensor<4>>> {
        self.into_groups()
    }

    fn of_groups(groups: Vec<Option<Tensor<4>>>, size: [usize; 2]) -> Self {
        Self::new(groups, size, [true; 2]).unwrap_or_else(|e| panic!("{e}"))
    }
}
