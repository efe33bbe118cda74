use std::panic::resume_unwind;
use std::thread;

/// Not in a browser, where a module has threads only if its page asks for shared memory.
const HAS_THREADS: bool = cfg!(any(not(target_family = "wasm"), target_feature = "atomics"));

/// Runs `work` where no other task can come in between: on this thread, or on a thread of its own
/// if this one belongs to a rayon pool.
///
/// A worker of a pool that waits within `work` would run other tasks of the pool, and those would
/// find the thread-local state that was meant for `work`. A thread outside of all pools only
/// waits. Meanwhile the worker serves its pool, as it would have done, so that nothing waits for
/// nothing.
///
/// # Panics
///
/// If `work` does, with its payload.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    // Without threads rayon makes the only one a pool; nothing can come in between on it.
    if rayon::current_thread_index().is_none() || !HAS_THREADS {
        return work();
    }
    thread::scope(|scope| {
        let done = scope.spawn(work);
        while !done.is_finished() {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                thread::yield_now();
            }
        }
        done.join().unwrap_or_else(|payload| resume_unwind(payload))
    })
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    thread_local! {
        static INSIDE: Cell<bool> = const { Cell::new(false) };
    }

    /// Sets a switch of the thread, and waits in a parallel region.
    fn switched(task: usize) -> usize {
        apart(|| {
            INSIDE.set(true);
            let (a, b) = rayon::join(|| task, || 1);
            INSIDE.set(false);
            a + b
        })
    }

    #[test]
    fn other_tasks_do_not_see_its_thread() {
        // More tasks than threads: all workers wait in `apart` at once, and none of them for good.
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                (0..97).into_par_iter().with_max_len(1).for_each(|task| {
                    assert!(!INSIDE.get());
                    if task % 3 > 0 {
                        assert_eq!(switched(task), task + 1);
                    }
                });
            });
        }
        // Also in the pool that `work` itself computes in.
        let all = (0..97).into_par_iter().with_max_len(1).map(switched);
        assert_eq!(all.sum::<usize>(), 97 * 98 / 2);
    }

    #[test]
    fn panics_come_through() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
        let caught = pool
            .build()
            .unwrap()
            .install(|| catch_unwind(AssertUnwindSafe(|| apart(|| panic!("on purpose")))));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"on purpose"));
    }
}
