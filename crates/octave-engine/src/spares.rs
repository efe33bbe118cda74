use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values to work on and to use again, such as the buffers of a call.
///
/// A thread that waits within a parallel region may meanwhile run any other task of its pool, the
/// same function among them. So what a function keeps between calls must not belong to the thread:
/// each call takes a value of its own out, and puts it back for the next.
pub struct Spares<T>(Mutex<Vec<T>>);

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Spares<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Drops what was put back.
    pub fn clear(&self) {
        let spares = std::mem::take(&mut *self.lock());
        drop(spares);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Spares<T> {
    /// Runs `work` on a value that nobody else has: one that was put back, or a fresh one. It is
    /// put back afterwards, except where `work` panics.
    pub fn lend<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let spare = self.lock().pop();
        let mut value = spare.unwrap_or_default();
        let result = work(&mut value);
        self.lock().push(value);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_within_calls_have_values_of_their_own() {
        let spares = Spares::<Vec<u8>>::new();
        spares.lend(|outer| {
            outer.push(1);
            spares.lend(|inner| {
                assert!(inner.is_empty());
                inner.push(2);
            });
            assert_eq!(*outer, [1]);
        });
        // The last one put back is the first to go out again, while its memory is in the cache.
        spares.lend(|again| assert_eq!(*again, [1]));
        spares.clear();
        spares.lend(|fresh| assert!(fresh.is_empty()));
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn what_a_panic_leaves_behind_is_not_used_again() {
        let spares = Spares::<Vec<u8>>::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            spares.lend(|value| {
                value.push(1);
                panic!("on purpose");
            })
        }));
        assert!(caught.is_err());
        spares.lend(|value| assert!(value.is_empty()));
    }
}
