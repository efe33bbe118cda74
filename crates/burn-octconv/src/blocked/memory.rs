//! Memory of maps, lent and given back: a fresh page costs more than the arithmetic done on it.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

use octave_engine::BlockedMap;

/// Maps that nobody uses.
static SPARE: Mutex<Vec<BlockedMap>> = Mutex::new(Vec::new());

/// Spare maps that are kept at most; a network has fewer at a time.
const MOST: usize = 16;

/// A map whose memory is given back when it is dropped.
pub(super) struct Lent(BlockedMap);

impl Lent {
    /// A map of shape `[n, c, h, w]` with a border of `pad` zeros; its pixels are unspecified.
    pub(super) fn new(dims: [usize; 4], pad: usize) -> Self {
        let need = BlockedMap::floats(dims, pad);
        let mut map = take(need).unwrap_or_default();
        map.reset(dims, pad);
        Self(map)
    }
}

/// The smallest spare map that is large enough.
fn take(need: usize) -> Option<BlockedMap> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |(_, map): &(usize, &BlockedMap)| map.capacity() >= need;
    let fitting = spare.iter().enumerate().filter(fits);
    let (best, _) = fitting.min_by_key(|(_, map)| map.capacity())?;
    Some(spare.swap_remove(best))
}

impl Drop for Lent {
    fn drop(&mut self) {
        let map = std::mem::take(&mut self.0);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(map);
        if spare.len() > MOST {
            let smallest = (0..spare.len()).min_by_key(|&i| spare[i].capacity());
            spare.swap_remove(smallest.unwrap_or_default());
        }
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
        // No other test has maps of this size.
        let dims = [3, 16, 211, 97];
        let first = Lent::new(dims, 1);
        let at = first.as_slice().as_ptr();
        drop(first);
        let smaller = Lent::new([3, 16, 211, 96], 1);
        assert_eq!(smaller.as_slice().as_ptr(), at);
        let many: Vec<_> = (0..2 * MOST).map(|_| Lent::new([1, 1, 1, 1], 0)).collect();
        drop(many);
        assert!(SPARE.lock().unwrap().len() <= MOST);
    }
}
