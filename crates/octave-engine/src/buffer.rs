//! Memory that is kept: aligned to a cache line, grown but never shrunk.
//!
//! A fresh page costs more than the arithmetic done on it, so every map and
//! every packed weight lives in a [`Buffer`] that survives from call to call.

/// One cache line of floats; gives the allocation its alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A growable array of `f32`, aligned to 64 bytes.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(len);
        buffer
    }

    /// Sets the length. Memory is kept when shrinking; what lies in the
    /// buffer afterwards is unspecified (old values or zeros).
    pub fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(16);
        if lines > self.lines.len() {
            // The old contents need not survive: no copy.
            self.lines.clear();
            self.lines.resize(lines, Line([0.0; 16]));
        }
        self.len = len;
    }

    /// The length up to which memory is there.
    pub(crate) fn capacity(&self) -> usize {
        self.lines.len() * 16
    }

    /// The floats.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` initialised floats, contiguous
        // because `Line` is 64 bytes long and wide.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// The floats.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.lines.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }
}

/// The product of `factors` as a number of floats that memory can hold.
///
/// Geometries are checked by this where they are made; what is computed from
/// them later relies on it. An empty axis counts as one element, so that the
/// strides of an empty tensor fit, too.
///
/// # Panics
///
/// If the product is too large.
#[track_caller]
pub(crate) fn floats(what: &str, factors: &[usize]) -> usize {
    const MOST: usize = isize::MAX as usize / size_of::<f32>();
    let product = |least| {
        let mut factors = factors.iter().map(|&f| f.max(least));
        factors.try_fold(1usize, |product, f| product.checked_mul(f))
    };
    assert!(
        product(1).is_some_and(|strides| strides <= MOST),
        "{what} of {factors:?}: more floats than memory can hold"
    );
    product(0).unwrap_or(0)
}

/// A pointer that may cross threads: the jobs of a parallel region write to
/// disjoint parts of one buffer. Whoever dereferences it argues why.
#[derive(Clone, Copy)]
pub(crate) struct Shared<P>(pub P);
// SAFETY: only an address of elements that may be used by any thread; every
// access through it is an `unsafe` block with its own argument.
unsafe impl<T: Send> Send for Shared<*mut T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<*mut T> {}
// SAFETY: as above; elements that are only read are shared.
unsafe impl<T: Sync> Send for Shared<*const T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<*const T> {}

impl<P: Copy> Shared<P> {
    /// The pointer. (A method, so that closures capture the wrapper.)
    #[inline(always)]
    pub(crate) fn get(&self) -> P {
        self.0
    }
}

#[cfg(all(test, panic = "unwind"))]
mod tests {
    use super::*;

    #[test]
    fn products_are_floats_that_memory_can_hold() {
        assert_eq!(floats("a map", &[2, 3, 5]), 30);
        assert_eq!(floats("a map", &[2, 0, 5]), 0);
        // One float more than memory can hold.
        const HUGE: usize = 1 << (usize::BITS - 3);
        for factors in [[HUGE / 2, 16], [HUGE, 1], [0, usize::MAX]] {
            let refused = std::panic::catch_unwind(|| floats("a map", &factors));
            assert!(refused.is_err(), "{factors:?}");
        }
    }
}
