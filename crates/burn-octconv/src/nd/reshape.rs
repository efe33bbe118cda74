use alloc::vec::Vec;

use burn::tensor::{Tensor, ops::PadMode};

use super::{MapsError, OctMaps, resample};

/// How a group is to change along each axis: where it begins, and how many pixels it then has.
type Spans<const D: usize> = [(usize, usize); D];

impl<const D: usize, const R: usize> OctMaps<D, R> {
    /// The part of `size` that begins at `start`, in pixels of the full resolution.
    ///
    /// # Errors
    ///
    /// [`MapsError::Outside`] if the map has no such part; [`MapsError::Alignment`] if `start` is
    /// no multiple of 2ˡ along the octave axes, l the lowest group, so that a pixel of that group
    /// would be cut.
    pub fn crop(self, start: [usize; D], size: [usize; D]) -> Result<Self, MapsError> {
        let ends = (0..D).map(|a| start[a].checked_add(size[a]));
        let within = ends
            .zip(self.size())
            .all(|(end, whole)| end.is_some_and(|end| end <= whole));
        if !within || size.contains(&0) {
            return Err(MapsError::Outside {
                size: self.size().into(),
                start: start.into(),
                part: size.into(),
            });
        }
        self.aligned("crop", start)?;
        self.change(start, size, |x, spans| {
            let axes = spans.into_iter().enumerate();
            axes.fold(x, |x, (a, (start, length))| {
                resample::narrow(x, 2 + a, start, length)
            })
        })
    }

    /// Adds zeros, `padding` pixels of the full resolution at the beginning and the end of each
    /// axis.
    ///
    /// # Errors
    ///
    /// [`MapsError::Alignment`] if the padding at a beginning is no multiple of 2ˡ along the octave
    /// axes, l the lowest group.
    pub fn pad(self, padding: [(usize, usize); D]) -> Result<Self, MapsError> {
        let begin = padding.map(|(begin, _)| begin);
        self.aligned("padding", begin)?;
        let whole = self.size();
        let size = core::array::from_fn(|a| whole[a] + padding[a].0 + padding[a].1);
        self.change(begin, size, |x: Tensor<R>, spans| {
            let dims = x.dims();
            let padding: [(usize, usize); D] = core::array::from_fn(|a| {
                let (begin, length) = spans[a];
                (begin, length - begin - dims[2 + a])
            });
            match padding == [(0, 0); D] {
                true => x,
                false => x.pad(padding, PadMode::Constant(0.0)),
            }
        })
    }

    /// Refuses what does not begin at a pixel of every group.
    fn aligned(&self, what: &'static str, begin: [usize; D]) -> Result<(), MapsError> {
        let lowest = self.channels().len() - 1;
        let axes = self.octave_axes();
        let multiple = axes.map(|halved| if halved { 1usize << lowest } else { 1 });
        if (0..D).all(|a| begin[a].is_multiple_of(multiple[a])) {
            return Ok(());
        }
        Err(MapsError::Alignment {
            what,
            begin: begin.into(),
            size: self.size().into(),
            multiple: multiple.into(),
        })
    }

    /// Applies `f` to every group, with the spans of it that belong to `start` and `size`.
    fn change(
        self,
        start: [usize; D],
        size: [usize; D],
        f: impl Fn(Tensor<R>, Spans<D>) -> Tensor<R>,
    ) -> Result<Self, MapsError> {
        let axes = self.octave_axes();
        let new = |level: usize| {
            let halve = |size, _| octave_plan::half_size(size, axes);
            let [start, size] = [start, size].map(|size| (0..level).fold(size, halve));
            core::array::from_fn(|a| (start[a], size[a]))
        };
        let groups = self.into_groups().into_iter().enumerate();
        let groups: Vec<_> = groups
            .map(|(level, x)| x.map(|x| f(x, new(level))))
            .collect();
        Self::new(groups, size, axes)
    }
}
