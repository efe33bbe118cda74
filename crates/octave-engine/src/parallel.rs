//! One parallel region: independent jobs, taken in order by idle threads.
//!
//! A shared counter hands out jobs, which balances threads better than
//! splitting ranges when jobs differ in size, and costs one atomic add each.
//! Which thread does a job never changes what is computed.
//!
//! Waking a thread for a region costs more than a small layer takes, so what
//! consists of many regions runs in a [`team`].

mod crew;
mod jobs;
mod sync;

use std::cell::Cell;

use crate::buffer::Shared;
use crew::Crew;
use jobs::Jobs;

/// What a thread is to a team.
#[derive(Clone, Copy)]
enum Role {
    /// Nothing.
    Alone,
    /// The leader, between regions.
    Leader(*const Crew),
    /// The leader within a region, or a helper.
    Busy,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Alone) };
}

/// Runs `job(0..jobs)`, each once, on the threads of the current rayon pool.
pub fn for_each(jobs: usize, job: impl Fn(usize) + Sync) {
    let threads = rayon::current_num_threads().min(jobs);
    let role = ROLE.get();
    // Within a region the pool may be full of helpers, of this team or of others: not to be waited
    // for.
    if threads <= 1 || matches!(role, Role::Busy) {
        (0..jobs).for_each(job);
        return;
    }
    let jobs = Jobs::new(jobs);
    let work = || jobs.take(&job);
    if let Role::Leader(crew) = role {
        let _between = Play::begin(Role::Busy);
        // SAFETY: `team` keeps the crew while it is in `ROLE`, on its own
        // thread, which is in no region of it.
        unsafe { (*crew).region(&work) };
    } else {
        fork(threads, &work);
    }
}

/// Runs `job` on each element, with its index.
pub fn for_each_mut<T: Send>(elements: &mut [T], job: impl Fn(usize, &mut T) + Sync) {
    let first = Shared(elements.as_mut_ptr());
    for_each(elements.len(), |index| {
        // SAFETY: every index comes once, so nobody else has this element.
        job(index, unsafe { &mut *first.get().add(index) });
    });
}

/// Runs `work` so that its regions share one team of threads, which wait for
/// the next region instead of sleeping. They keep their cores busy meanwhile,
/// so there should be little in between.
///
/// `work` and its jobs may use rayon by themselves, but had better not: a task that one of these
/// threads takes up while it waits runs its regions in the team, or alone, and a helper without a
/// region for a tenth of a second goes for good.
pub fn team<R>(work: impl FnOnce() -> R) -> R {
    let helpers = rayon::current_num_threads() - 1;
    if helpers == 0 || !matches!(ROLE.get(), Role::Alone) {
        return work();
    }
    let crew = Crew::default();
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| help(&crew));
        }
        // In this order also when `work` panics: no region, then no crew.
        let _dismiss = crew.dismissal();
        let _after = Play::begin(Role::Leader(&raw const crew));
        work()
    })
}

/// Helps, unless this thread has a role: then it waits for something of its own, the end of a
/// region of this crew maybe, and took up this task only meanwhile.
fn help(crew: &Crew) {
    if matches!(ROLE.get(), Role::Alone) {
        let _helper = Play::begin(Role::Busy);
        crew.help();
    }
}

/// A role that ends when dropped.
struct Play {
    before: Role,
}

impl Play {
    fn begin(role: Role) -> Self {
        Self {
            before: ROLE.replace(role),
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        ROLE.set(self.before);
    }
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

#[cfg(all(test, not(loom), not(target_family = "wasm")))]
mod tests;

#[cfg(all(test, target_family = "wasm"))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn without_threads_every_job_runs_here_and_once() {
        let mut counts: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        crate::apart(|| {
            team(|| {
                for _ in 0..3 {
                    for_each(counts.len(), |job| {
                        counts[job].fetch_add(1, Ordering::Relaxed);
                    });
                }
            })
        });
        assert!(counts.iter_mut().all(|count| *count.get_mut() == 3));
    }
}
