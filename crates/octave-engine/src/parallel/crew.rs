//! Threads that wait for regions, and the thread that gives them some.
//!
//! The leader puts a region where all can see it, opens it, works on it, and
//! closes it when no job is left. Helpers enter regions that are open, and
//! leave when no job is left. One word holds whether a region is open and how
//! many helpers are inside: a helper enters only what is still open, and the
//! leader goes on, and frees what the region borrows, only when nobody is
//! inside. A helper that the system keeps from running delays nobody.

use super::sync::{AtomicU64, Ordering, UnsafeCell, Waiting};

/// The bit that says that a region is open; below it, how many are inside.
const OPEN: u64 = 1 << 32;
/// The bit that says that there will be no more regions.
const OVER: u64 = 1 << 33;
/// The lowest bit of the region's number.
const NUMBER: u64 = 1 << 34;

type Work = dyn Fn() + Sync;

#[derive(Default)]
pub(super) struct Crew {
    state: AtomicU64,
    /// Written by the leader while no region is open and nobody is inside.
    region: UnsafeCell<Option<*const Work>>,
}

// SAFETY: `region` is written by the leader alone, while nobody is inside, and
// read by helpers that are inside; `state` orders the two.
unsafe impl Sync for Crew {}

impl Crew {
    /// Runs `work` on the leader's thread and on those of helpers that come in
    /// time; returns when all of them are done.
    ///
    /// # Safety
    ///
    /// Only one thread may lead a crew, and not within one of its regions.
    pub(super) unsafe fn region(&self, work: &(dyn Fn() + Sync)) {
        // SAFETY: only lifetimes differ; `close` lets nobody keep it.
        let erased =
            unsafe { std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const Work>(work) };
        self.region.with_mut(|region| {
            // SAFETY: no region is open and nobody is inside, see `close`.
            unsafe { *region = Some(erased) };
        });
        self.state.fetch_add(NUMBER | OPEN, Ordering::Release);
        // Also when `work` panics.
        let _close = Defer(|| self.close());
        work();
    }

    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::Relaxed);
        let inside = |state: u64| state & (OPEN - 1) != 0;
        let mut waiting = Waiting::default();
        while inside(self.state.load(Ordering::Acquire)) {
            waiting.look_again();
        }
    }

    /// Works on regions until the crew is dismissed, or until there was none for long: what the
    /// leader waits for may be a task of this thread, which began to help while that task waited.
    pub(super) fn help(&self) {
        let mut last = 0;
        let mut waiting = Waiting::default();
        loop {
            let state = self.state.load(Ordering::Acquire);
            if state & OVER != 0 {
                return;
            }
            if state & OPEN == 0 || state / NUMBER == last {
                waiting.look_again();
                if waiting.too_long() {
                    return;
                }
                continue;
            }
            let enter = self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if enter.is_ok() {
                last = state / NUMBER;
                let _leave = Defer(|| {
                    self.state.fetch_sub(1, Ordering::Release);
                });
                self.region.with(|region| {
                    // SAFETY: the region was open when this thread entered, so the
                    // leader wrote it before and keeps it until this one leaves.
                    unsafe {
                        if let Some(work) = *region {
                            (*work)();
                        }
                    }
                });
                waiting = Waiting::default();
            }
        }
    }

    /// Sends the helpers away when dropped.
    pub(super) fn dismissal(&self) -> impl Drop {
        Defer(|| {
            self.state.fetch_or(OVER, Ordering::Relaxed);
        })
    }
}

/// Does something when dropped, also by a panic.
struct Defer<F: FnMut()>(F);

impl<F: FnMut()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(all(test, loom))]
mod tests;
