//! One parallel region: independent jobs, taken in order by idle threads.
//!
//! A shared counter hands out jobs, which balances threads better than
//! splitting ranges when jobs differ in size, and costs one atomic add each.
//! Which thread does a job never changes what is computed.
//!
//! Waking a thread for a region costs more than a small layer takes, so what
//! consists of many regions runs in a [`team`].

mod crew;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::buffer::Shared;
use crew::Crew;

/// What a thread is to a team.
#[derive(Clone, Copy)]
enum Role {
    /// Not the leader of one.
    Alone,
    /// The leader, between regions.
    Leader(*const Crew),
    /// The leader, within a region.
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
/// so there should be little in between, and nothing that uses rayon by itself.
pub fn team<R>(work: impl FnOnce() -> R) -> R {
    let helpers = rayon::current_num_threads() - 1;
    if helpers == 0 || !matches!(ROLE.get(), Role::Alone) {
        return work();
    }
    let crew = Crew::default();
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| crew.help());
        }
        // In this order also when `work` panics: no region, then no crew.
        let _dismiss = crew.dismissal();
        let _after = Play::begin(Role::Leader(&raw const crew));
        work()
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn pool(threads: usize) -> rayon::ThreadPool {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap()
    }

    fn check(jobs: usize) {
        let counts: Vec<_> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
        for_each(jobs, |i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn every_job_runs_once() {
        for jobs in [0, 1, 2, 3, 17, 1000] {
            check(jobs);
        }
        let mut numbers = vec![1; 100];
        for_each_mut(&mut numbers, |index, number| *number += index);
        assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    }

    #[test]
    fn a_team_runs_every_job_of_every_region_once() {
        for threads in [1, 2, 3, 5] {
            pool(threads).install(|| {
                team(|| (0..3000).for_each(|region| check(region % 23)));
                // A second team, regions within jobs, and a team within a team.
                team(|| for_each(4, |_| check(7)));
                team(|| team(|| check(9)));
                check(11);
            });
        }
        // From a thread outside of the pool, and from several at once.
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| team(|| (0..300).for_each(check)));
            }
        });
    }

    /// Regions and teams in rayon tasks, of which a waiting thread takes
    /// others, and in plain threads, all at once.
    #[test]
    fn teams_and_regions_of_many_callers_do_not_meet() {
        use rayon::prelude::*;
        for threads in [1, 2, 3, 8] {
            let pool = pool(threads);
            let call = |caller: usize| match caller % 3 {
                0 => check(5 + caller % 7),
                1 => team(|| (0..20).for_each(check)),
                _ => team(|| for_each(3, |_| check(caller % 5))),
            };
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..30).for_each(call));
                }
                pool.install(|| {
                    (0..97).into_par_iter().with_max_len(1).for_each(call);
                });
            });
        }
    }

    #[test]
    fn panics_end_a_team() {
        pool(3).install(|| {
            for culprit in 0..8 {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    team(|| for_each(8, |i| assert_ne!(i, culprit, "on purpose")));
                }));
                assert!(caught.is_err());
                let caught = catch_unwind(|| team(|| panic!("on purpose")));
                assert!(caught.is_err());
                team(|| check(50));
            }
        });
    }
}
