//! One parallel region: independent jobs, taken in order by idle threads.
//!
//! A shared counter hands out jobs, which balances threads better than
//! splitting ranges when jobs differ in size, and costs one atomic add each.
//! Which thread does a job never changes what is computed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `job(0..jobs)`, each once, on the threads of the current rayon pool.
pub(crate) fn for_each(jobs: usize, job: impl Fn(usize) + Sync) {
    let threads = rayon::current_num_threads().min(jobs);
    if threads <= 1 {
        (0..jobs).for_each(job);
        return;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= jobs {
                break;
            }
            job(index);
        }
    };
    fork(threads, &work);
}

/// Runs `work` on up to `threads` threads. A thread that comes late finds no
/// job left and returns, so a busy core delays nobody.
fn fork(threads: usize, work: &(impl Fn() + Sync)) {
    if threads <= 1 {
        work();
    } else {
        let half = threads / 2;
        rayon::join(|| fork(threads - half, work), || fork(half, work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once() {
        for jobs in [0, 1, 2, 3, 17, 1000] {
            let counts: Vec<_> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
            for_each(jobs, |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        }
    }
}
