//! Counts the memory that an input takes, and ends the process if it is too much. Shared by the test of
//! this name and by that under `fuzz/`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The most of them since [`allow`].
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// How many there were then.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

/// How many there may be.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Lets the process take this many bytes more than it has.
pub fn allow(bytes: usize) {
    let live = LIVE.load(Relaxed);
    BEFORE.store(live, Relaxed);
    PEAK.store(live, Relaxed);
    MOST.store(live.saturating_add(bytes), Relaxed);
}

/// The most bytes since then that came to those that there were.
pub fn peak() -> usize {
    PEAK.load(Relaxed).saturating_sub(BEFORE.load(Relaxed))
}

struct Counting;

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed).saturating_add(bytes);
    PEAK.fetch_max(live, Relaxed);
    // Set at once, since to say so takes memory, too.
    if live > MOST.load(Relaxed) && MOST.swap(usize::MAX, Relaxed) != usize::MAX {
        eprintln!(
            "the input takes {} MB of memory, {} MB with the last request",
            peak() >> 20,
            bytes >> 20
        );
        process::abort();
    }
}

// SAFETY: everything is passed on to the system's allocator, which keeps the contract; counting
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as in `alloc`; `old` came from the system's allocator.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(old, layout) }
    }
}
