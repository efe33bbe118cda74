//! Memory of results, given back and lent again: a training step asks for the same sizes over and
//! over, and a fresh page costs more than the arithmetic that is done on it.

use std::{
    collections::VecDeque,
    mem::MaybeUninit,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

/// Results that nobody refers to any more.
static SPARES: Mutex<Pool> = Mutex::new(Pool::new());

/// Below this many floats the allocator is as good.
const LEAST: usize = 4096;

/// Floats of unspecified value, whose memory is kept for the next call when they are dropped.
pub(super) fn floats(count: usize) -> Bytes {
    let (memory, left) = match count < LEAST {
        true => (None, Vec::new()),
        false => spares().take(count),
    };
    // Unlocked: what is given back to the system may be large.
    drop(left);
    let memory = memory.unwrap_or_else(|| vec![0.0; count]);
    let length = count * size_of::<f32>();
    // SAFETY: the memory has at least `count` floats, all of which have a value.
    unsafe { Bytes::from_controller(Box::new(Lent(memory)), length) }
}

/// Gives the memory that is kept back to the system.
pub(super) fn release() {
    let left = std::mem::take(&mut spares().0);
    drop(left);
}

fn spares() -> MutexGuard<'static, Pool> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that goes back to the pool.
struct Lent(Vec<f32>);

impl Drop for Lent {
    fn drop(&mut self) {
        if self.0.len() >= LEAST {
            spares().give(std::mem::take(&mut self.0));
        }
    }
}

impl AllocationController for Lent {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    fn capacity(&self) -> usize {
        size_of_val(&self.0[..])
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let (at, length) = (self.0.as_ptr().cast(), self.capacity());
        // SAFETY: the bytes of the floats, borrowed as long as they are.
        Ok(unsafe { std::slice::from_raw_parts(at, length) })
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let (at, length) = (self.0.as_mut_ptr().cast(), self.capacity());
        // SAFETY: as in `memory`, and the borrow is unique; whoever asks writes initialised bytes.
        Ok(unsafe { std::slice::from_raw_parts_mut(at, length) })
    }
}

/// What was given back, the oldest first.
struct Pool(VecDeque<Vec<f32>>);

impl Pool {
    const fn new() -> Self {
        Self(VecDeque::new())
    }

    fn give(&mut self, memory: Vec<f32>) {
        self.0.push_back(memory);
    }

    /// The smallest that holds `count` floats, unless an eighth of it would lie idle. If there is none
    /// the oldest make room, so that what is used and what is kept are together no more than
    /// what was used at a time.
    fn take(&mut self, count: usize) -> (Option<Vec<f32>>, Vec<Vec<f32>>) {
        let fits = count..=count + count / 8;
        let fitting = (0..self.0.len()).filter(|&i| fits.contains(&self.0[i].len()));
        if let Some(best) = fitting.min_by_key(|&i| self.0[i].len()) {
            return (self.0.remove(best), Vec::new());
        }
        let (mut left, mut room) = (Vec::new(), 0);
        while room < count
            && let Some(oldest) = self.0.pop_front()
        {
            room += oldest.len();
            left.push(oldest);
        }
        (None, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_lent_again() {
        let mut pool = Pool::new();
        for length in [900, 1000, 1100] {
            pool.give(vec![0.0; length]);
        }
        let length = |(memory, left): (Option<Vec<f32>>, Vec<Vec<f32>>)| {
            assert!(left.is_empty());
            memory.map(|memory| memory.len())
        };
        assert_eq!(length(pool.take(990)), Some(1000));
        assert_eq!(length(pool.take(990)), Some(1100));
        assert_eq!(length(pool.take(900)), Some(900));
        assert_eq!(length(pool.take(900)), None);
    }

    #[test]
    fn the_oldest_make_room_for_another_size() {
        let mut pool = Pool::new();
        for length in [900, 1000, 1100] {
            pool.give(vec![0.0; length]);
        }
        let (memory, left) = pool.take(1800);
        assert_eq!(memory, None);
        let left: Vec<_> = left.iter().map(Vec::len).collect();
        assert_eq!(left, [900, 1000]);
        assert_eq!(pool.0.len(), 1);
    }

    #[test]
    fn bytes_are_of_the_length_that_was_asked_for_and_copies_their_own() {
        let mut bytes = floats(LEAST);
        assert_eq!(bytes.len(), 4 * LEAST);
        bytes.fill(1);
        let copy = bytes.clone();
        bytes.fill(2);
        assert!(copy.iter().all(|byte| *byte == 1));
    }
}
