//! The orders in which the threads of a crew can meet; `docs/dev/proof.md` says how to run this.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::super::jobs::Jobs;
use super::*;

/// What jobs write: one cell each, which nobody else may touch meanwhile.
struct Results(Vec<UnsafeCell<usize>>);

// SAFETY: what is tested; loom reports cells that two threads use at once.
unsafe impl Sync for Results {}

impl Results {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, job: usize) {
        // SAFETY: as above.
        self.0[job].with_mut(|result| unsafe { *result += 1 });
    }

    fn get(&self) -> Vec<usize> {
        // SAFETY: as above.
        let read = |result: &UnsafeCell<usize>| result.with(|result| unsafe { *result });
        self.0.iter().map(read).collect()
    }
}

/// Tries `lead` with so many helpers, in all orders with few switches away from a running thread.
fn model(helpers: usize, lead: impl Fn(&Crew) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let crew = Arc::new(Crew::default());
        let help = || {
            let crew = crew.clone();
            // A panic of a job ends the helper.
            thread::spawn(move || drop(catch_unwind(AssertUnwindSafe(|| crew.help()))))
        };
        let helpers: Vec<_> = (0..helpers).map(|_| help()).collect();
        {
            let _dismiss = crew.dismissal();
            lead(&crew);
        }
        helpers
            .into_iter()
            .for_each(|helper| helper.join().unwrap());
    });
}

/// A region in which each job is done.
fn region(crew: &Crew, count: usize) {
    let (jobs, results) = (Jobs::new(count), Results::new(count));
    let work = || jobs.take(|job| results.add(job));
    // SAFETY: the model's first thread alone leads.
    unsafe { crew.region(&work) };
    assert_eq!(results.get(), vec![1; count]);
}

#[test]
fn every_job_is_done_once_and_seen_by_the_leader() {
    model(1, |crew| region(crew, 2));
    model(2, |crew| region(crew, 2));
}

#[test]
fn regions_follow_each_other() {
    model(1, |crew| (0..3).for_each(|_| region(crew, 1)));
}

#[test]
fn nobody_stays_inside_after_a_panic() {
    model(1, |crew| {
        let (jobs, results) = (Jobs::new(2), Results::new(2));
        let work = || {
            jobs.take(|job| {
                results.add(job);
                assert_ne!(job, 0, "on purpose");
            })
        };
        // SAFETY: the model's first thread alone leads.
        let _ = catch_unwind(AssertUnwindSafe(|| unsafe { crew.region(&work) }));
        // No helper writes any more, and no job was done twice.
        assert!(results.get().into_iter().all(|times| times <= 1));
        region(crew, 1);
    });
}
