//! NCHW tensors into blocked maps, with what derives from them.
//!
//! Each job takes 16 planes of one image: transposes them, and pools the
//! result once or twice while it is in the cache.

use std::cell::RefCell;
use std::ops::Range;

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
    /// The map itself.
    pub full: Option<&'a mut BlockedMap>,
    /// Its 2×2 averages (sums).
    pub half: Option<&'a mut BlockedMap>,
    /// Averages of the averages.
    pub quarter: Option<&'a mut BlockedMap>,
    /// Sums, not averages.
    pub sum: bool,
}

struct Prepared {
    from: Shared<*const f32>,
    dims: [usize; 3],
    blocks: usize,
    maps: [Option<Planes<*mut f32>>; 3],
    sum: bool,
}

thread_local! {
    static SCRATCH: RefCell<[Buffer; 2]> = RefCell::default();
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
        let maps = [tensor.full, tensor.half, tensor.quarter].map(|map| {
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
        scratch: &mut [Buffer; 2],
    ) {
        let [c, h, w] = self.dims;
        debug_assert!(block < self.blocks);
        let plane = |map: Planes<*mut f32>| (map.plane(image, block), map.row);
        let read = |at: *mut f32, row| Rows {
            at: at.cast_const(),
            row,
        };
        let write = |(at, row)| Rows { at, row };
        let [spare, spare_half] = scratch;
        let (full, row) = match self.maps[0] {
            Some(map) => plane(map),
            None => {
                spare.resize(h * w * BLOCK);
                (spare.as_mut_ptr(), w * BLOCK)
            }
        };
        // SAFETY: contract; planes of maps or scratch of this size.
        unsafe {
            let (from, place) = (self.from.get(), [first + image, block]);
            from_planes(isa, from, [0, c, h, w], place, Rows { at: full, row });
        }
        let (h2, w2) = (h.div_ceil(2), w.div_ceil(2));
        let half = match (self.maps[1], self.maps[2]) {
            (Some(map), _) => plane(map),
            (None, Some(_)) => {
                spare_half.resize(h2 * w2 * BLOCK);
                (spare_half.as_mut_ptr(), w2 * BLOCK)
            }
            (None, None) => return,
        };
        // SAFETY: as above.
        unsafe { average_rows(isa, read(full, row), [h, w], write(half), self.sum) };
        if let Some(map) = self.maps[2] {
            let half = read(half.0, half.1);
            // SAFETY: as above.
            unsafe { average_rows(isa, half, [h2, w2], write(plane(map)), self.sum) };
        }
    }
}
