//! Memory of maps, lent and given back: a fresh page costs more than the arithmetic done on it.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use octave_engine::BlockedMap;

/// Maps that nobody uses.
static SPARE: Mutex<Vec<BlockedMap>> = Mutex::new(Vec::new());

/// Spare maps that are kept at most; a network has fewer at a time.
const MOST: usize = 16;

/// Gives the memory that nobody uses back to the system.
pub(crate) fn release() {
    let maps = std::mem::take(&mut *spare());
    drop(maps);
}

/// A map whose memory is given back when it is dropped.
pub(super) struct Lent(BlockedMap);

impl Lent {
    /// A map of shape `[n, c, h, w]` with a border of `pad` zeros; its pixels are unspecified.
    pub(super) fn new(dims: [usize; 4], pad: usize) -> Self {
        let need = BlockedMap::floats(dims, pad);
        let mut map = take(&mut spare(), need).unwrap_or_default();
        map.reset(dims, pad);
        Self(map)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give(&mut spare(), std::mem::take(&mut self.0));
    }
}

fn spare() -> MutexGuard<'static, Vec<BlockedMap>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The smallest spare map that is large enough.
fn take(spare: &mut Vec<BlockedMap>, need: usize) -> Option<BlockedMap> {
    let fits = |&i: &usize| spare[i].capacity() >= need;
    let best = (0..spare.len())
        .filter(fits)
        .min_by_key(|&i| spare[i].capacity())?;
    Some(spare.swap_remove(best))
}

/// Adds a map, and drops the smallest where there are too many.
fn give(spare: &mut Vec<BlockedMap>, map: BlockedMap) {
    spare.push(map);
    if spare.len() > MOST {
        let smallest = (0..spare.len()).min_by_key(|&i| spare[i].capacity());
        spare.swap_remove(smallest.unwrap_or_default());
    }
}

impl Deref for Lent {
    type Target = BlockedMap;

    fn deref(&self) -> &BlockedMap {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut BlockedMap {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_given_back_is_lent_again_and_not_without_end() {
        let mut spare = Vec::new();
        for height in [3, 211, 97] {
            give(&mut spare, BlockedMap::zeros([3, 16, height, 97], 1));
        }
        let at = spare[2].as_slice().as_ptr();
        let need = BlockedMap::floats([3, 16, 97, 96], 1);
        assert_eq!(take(&mut spare, need).unwrap().as_slice().as_ptr(), at);
        assert!(take(&mut spare, usize::MAX).is_none());
        for _ in 0..2 * MOST {
            give(&mut spare, BlockedMap::zeros([1, 1, 1, 1], 0));
        }
        assert_eq!(spare.len(), MOST);
        // The largest stays.
        assert!(take(&mut spare, BlockedMap::floats([3, 16, 211, 97], 1)).is_some());
    }
}
