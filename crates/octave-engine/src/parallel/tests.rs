use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier, Mutex};

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

/// Keeps `threads` other threads of the current pool busy until the result is dropped.
fn occupy(threads: usize) -> Sender<()> {
    let (release, released) = channel();
    let released = Arc::new(Mutex::new(released));
    let (begin, begun) = channel();
    for _ in 0..threads {
        let (released, begin) = (released.clone(), begin.clone());
        rayon::spawn(move || {
            begin.send(()).unwrap();
            // An error, once the sender is gone.
            let _ = released.lock().unwrap().recv();
        });
    }
    begun.iter().take(threads).for_each(drop);
    release
}

/// A leader that waits in rayon takes up its own helper's task, which must not wait for it.
#[test]
fn a_leader_does_not_help_itself() {
    pool(2).install(|| {
        let _occupied = occupy(1);
        team(|| {
            assert_eq!(rayon::yield_now(), Some(rayon::Yield::Executed));
            check(5);
        });
    });
}

/// Nor must a helper that waits in rayon within a job.
#[test]
fn a_helper_does_not_help_twice() {
    pool(3).install(|| {
        let occupied = occupy(1);
        let both = Barrier::new(2);
        team(|| {
            for_each(2, |_| {
                both.wait();
                rayon::yield_now();
            });
        });
        drop(occupied);
    });
}

/// A task that began to help while it waited goes on once the leader waits for it.
#[test]
fn a_leader_may_wait_for_a_task_below_its_helper() {
    pool(2).install(|| {
        let (lead, led) = channel();
        let (end, ended) = channel();
        rayon::spawn(move || {
            led.recv().unwrap();
            while rayon::yield_now() != Some(rayon::Yield::Executed) {}
            end.send(()).unwrap();
        });
        team(|| {
            lead.send(()).unwrap();
            ended.recv().unwrap();
            check(5);
        });
    });
}

#[test]
fn regions_and_teams_within_jobs_are_those_of_their_thread() {
    pool(3).install(|| {
        team(|| {
            for_each(4, |_| {
                let thread = std::thread::current().id();
                let here = |_| assert_eq!(std::thread::current().id(), thread);
                for_each(7, here);
                team(|| for_each(7, here));
            });
        });
    });
}
