//! Feature maps in the layout of an engine.

use octave_plan::Refusal;

use super::{Groups, OctFeatures};
use crate::{
    blocked::Blocked,
    ops::engine::{engine_of, readable},
};

impl OctFeatures {
    pub(crate) fn from_blocked(map: Blocked, size: [usize; 2]) -> Self {
        let groups = Groups::Blocked(map);
        Self { groups, size }
    }

    /// Whether the map is in the layout of an engine.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self.groups, Groups::Blocked(_))
    }

    /// Images.
    pub(crate) fn images(&self) -> usize {
        self.shapes()
            .into_iter()
            .flatten()
            .next()
            .map_or(0, |[images, ..]| images)
    }

    /// The map in the layout of an engine, if it has that.
    ///
    /// # Errors
    ///
    /// Itself, if it does not.
    #[expect(clippy::result_large_err, reason = "the map is given back")]
    pub(crate) fn into_blocked(self) -> Result<Blocked, Self> {
        match self.groups {
            Groups::Blocked(map) => Ok(map),
            groups => Err(Self { groups, ..self }),
        }
    }

    /// The map in the layout of an engine, brought there if it is plain.
    pub(crate) fn blocked(self) -> Blocked {
        match self.groups {
            Groups::Plain(groups) => Blocked::bring_in(groups, self.size),
            Groups::Blocked(map) => map,
        }
    }

    /// Whether one of two maps is in the layout of an engine, and the other can be brought there.
    pub(super) fn meets_blocked(&self, other: &Self) -> bool {
        (self.is_blocked() || other.is_blocked())
            && self.untracked().is_ok()
            && other.untracked().is_ok()
    }

    /// The channels of two maps side by side in the layout of an engine.
    ///
    /// # Errors
    ///
    /// Both, if none is in that layout, they do not fit each other, or a block of channels would
    /// hold some of both.
    #[expect(clippy::result_large_err, reason = "the maps are given back")]
    pub(crate) fn beside(self, other: Self) -> Result<Self, [Self; 2]> {
        let same = (self.images(), self.size) == (other.images(), other.size);
        if !same || !self.meets_blocked(&other) {
            return Err([self, other]);
        }
        let size = self.size;
        let maps = self.blocked().beside(other.blocked());
        let maps = maps.map_err(|maps| maps.map(|map| Self::from_blocked(map, size)));
        maps.map(|map| Self::from_blocked(map, size))
    }

    /// Whether an engine reads the groups.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(crate) fn readable(&self) -> Result<(), Refusal> {
        let groups = [self.high(), self.low()];
        groups.into_iter().flatten().try_for_each(readable)
    }

    /// Whether the map is in the layout of an engine or can be brought there, and nothing goes back
    /// through it.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub(crate) fn untracked(&self) -> Result<(), Refusal> {
        let device = self.device();
        engine_of(&device)?;
        match (device.is_autodiff(), self.is_blocked()) {
            (true, _) => Err(Refusal::Tracked),
            (false, true) => Ok(()),
            (false, false) => self.readable(),
        }
    }
}
