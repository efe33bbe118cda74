//! NCHW tensors into blocked maps, with what derives from them.
//!
//! Each job takes 16 planes of one image: transposes them, and pools the
//! result as often as is asked for while it is in the cache.

use std::cell::RefCell;
use std::ops::Range;

use super::operands::HALVINGS;
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::isa::Isa;
use crate::layout::{Rows, from_planes};
use crate::map::{BlockedMap, Planes};
use crate::parallel;
use crate::pool::average_rows;

/// A tensor to bring in, and the maps to make of it.
pub(super) struct Intake<'a> {
    /// The whole tensor `[n, c, h, w]`.
    pub from: &'a [f32],
    /// `[c, h, w]`.
    pub dims: [usize; 3],
    /// Border of the maps.
    pub pad: usize,
    /// The map itself, its 2×2 averages (sums), the averages of these, and so on.
    pub maps: [Option<&'a mut BlockedMap>; HALVINGS],
    /// Sums, not averages.
    pub sum: bool,
}

struct Prepared {
    from: Shared<*const f32>,
    dims: [usize; 3],
    blocks: usize,
    maps: [Option<Planes<*mut f32>>; HALVINGS],
    sum: bool,
}

thread_local! {
    static SCRATCH: RefCell<[Buffer; HALVINGS]> = RefCell::default();
}

/// Brings in the images `range` of all tensors, in one parallel region.
pub(super) fn intake(isa: Isa, tensors: Vec<Intake<'_>>, range: &Range<usize>) {
    let n = range.len();
    let mut jobs = Vec::new();
    let mut prepared = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let [c, h, w] = tensor.dims;
        assert!(
            tensor.from.len() >= range.end * c * h * w,
            "elements of a tensor"
        );
        let (mut h, mut w) = (h, w);
        let maps = tensor.maps.map(|map| {
            let size = [h, w];
            (h, w) = (h.div_ceil(2), w.div_ceil(2));
            map.map(|m| {
                m.reset([n, c, size[0], size[1]], tensor.pad);
                m.planes_mut()
            })
        });
        let blocks = c.div_ceil(BLOCK);
        jobs.extend((0..n * blocks).map(|j| (prepared.len(), j / blocks, j % blocks)));
        let from = Shared(tensor.from.as_ptr());
        prepared.push(Prepared {
            from,
            dims: tensor.dims,
            blocks,
            maps,
            sum: tensor.sum,
        });
    }
    parallel::for_each(jobs.len(), |job| {
        let (tensor, image, block) = jobs[job];
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: plane `block` of image `image` of these maps is this
            // job's; the tensor was checked to hold it.
            unsafe { prepared[tensor].take(isa, range.start, image, block, scratch) };
        });
    });
}

impl Prepared {
    /// # Safety
    ///
    /// Nobody else may access these planes of the maps, and the tensor must
    /// hold image `first + image`.
    unsafe fn take(
        &self,
        isa: Isa,
        first: usize,
        image: usize,
        block: usize,
        scratch: &mut [Buffer; HALVINGS],
    ) {
        let [c, mut h, mut w] = self.dims;
        debug_assert!(block < self.blocks);
        let last = self.maps.iter().rposition(Option::is_some);
        let mut finer: Option<Rows<*mut f32>> = None;
        for (map, spare) in self
            .maps
            .iter()
            .zip(scratch)
            .take(last.map_or(0, |l| l + 1))
        {
            let size = match finer {
                None => [h, w],
                Some(_) => [h.div_ceil(2), w.div_ceil(2)],
            };
            let to = match map {
                Some(map) => Rows {
                    at: map.plane(image, block),
                    row: map.row,
                },
                None => {
                    spare.resize(size[0] * size[1] * BLOCK);
                    Rows {
                        at: spare.as_mut_ptr(),
                        row: size[1] * BLOCK,
                    }
                }
            };
            // SAFETY: contract; planes of maps or scratch of this size.
            unsafe {
                match finer {
                    None => {
                        let (from, place) = (self.from.get(), [first + image, block]);
                        from_planes(isa, from, [0, c, h, w], place, to);
                    }
                    Some(Rows { at, row }) => {
                        let at = at.cast_const();
                        average_rows(isa, Rows { at, row }, [h, w], to, self.sum);
                    }
                }
            }
            [h, w] = size;
            finer = Some(to);
        }
    }
}
