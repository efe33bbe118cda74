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

/// A pointer that may cross threads: the jobs of a parallel region write to
/// disjoint parts of one buffer. Whoever dereferences it argues why.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub T);
// SAFETY: only an address; every access through it is an `unsafe` block with
// its own argument.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// The pointer. (A method, so that closures capture the wrapper.)
    #[inline(always)]
    pub(crate) fn get(&self) -> T {
        self.0
    }
}
