use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::error::panic_message;

/// The results of `job(0)`, `job(1)`, … in that order, computed by threads ahead of demand.
///
/// A result that is a panic's message stands for a job that panicked. Dropping the iterator
/// waits for the jobs under way and starts no others.
pub(super) struct Workers<T> {
    shared: Arc<Shared<T>>,
    /// Empty if the jobs run when their results are asked for.
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    job: Box<dyn Fn(usize) -> T + Send + Sync>,
    jobs: usize,
    /// How many jobs may be started beyond the last result taken: the bound on memory.
    ahead: usize,
    state: Mutex<State<T>>,
    /// The result that is next in order has arrived.
    ready: Condvar,
    /// A result was taken, so another job may start; or all is over.
    room: Condvar,
}

struct State<T> {
    /// Jobs started.
    started: usize,
    /// Results taken.
    taken: usize,
    /// Results from `taken` to `started`, `None` while under way.
    results: VecDeque<Option<Result<T, String>>>,
    stopped: bool,
}

impl<T: Send + 'static> Workers<T> {
    /// Runs `jobs` jobs on `workers` threads, or in the calling thread if `workers` is 0.
    pub fn new(
        jobs: usize,
        workers: usize,
        ahead: usize,
        job: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            job: Box::new(job),
            jobs,
            ahead: ahead.max(workers),
            state: Mutex::new(State {
                started: 0,
                taken: 0,
                results: VecDeque::new(),
                stopped: false,
            }),
            ready: Condvar::new(),
            room: Condvar::new(),
        });
        let spawn = |number| {
            let shared = shared.clone();
            let name = format!("data-{number}");
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || shared.work());
            // A system out of threads makes it slower, not impossible.
            thread
                .inspect_err(|error| log::warn!("cannot start a data worker: {error}"))
                .ok()
        };
        Self {
            threads: (0..workers.min(jobs)).filter_map(spawn).collect(),
            shared,
        }
    }

    /// Results taken so far.
    pub fn taken(&self) -> usize {
        self.shared.lock().taken
    }
}

impl<T> Shared<T> {
    fn work(&self) {
        let mut state = self.lock();
        loop {
            while !state.stopped
                && state.started < self.jobs
                && state.started - state.taken >= self.ahead
            {
                state = wait(&self.room, state);
            }
            if state.stopped || state.started == self.jobs {
                return;
            }
            let number = state.started;
            state.started += 1;
            state.results.push_back(None);
            drop(state);

            let result = self.run(number);

            state = self.lock();
            let place = number - state.taken;
            state.results[place] = Some(result);
            if place == 0 {
                self.ready.notify_one();
            }
        }
    }

    fn run(&self, number: usize) -> Result<T, String> {
        catch_unwind(AssertUnwindSafe(|| (self.job)(number)))
            .map_err(|panic| panic_message(&*panic))
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Jobs run outside the lock, so that a panic cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a, T>(condition: &Condvar, state: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

impl<T> Iterator for Workers<T> {
    type Item = Result<T, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.shared.lock();
        if state.taken == self.shared.jobs {
            return None;
        }
        if self.threads.is_empty() {
            let number = state.taken;
            state.taken += 1;
            drop(state);
            return Some(self.shared.run(number));
        }
        loop {
            if let Some(slot) = state.results.front_mut()
                && let Some(result) = slot.take()
            {
                state.results.pop_front();
                state.taken += 1;
                self.shared.room.notify_one();
                return Some(result);
            }
            state = wait(&self.shared.ready, state);
        }
    }
}

impl<T> Drop for Workers<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // Jobs' panics are caught; there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_and_panics_in_their_place() {
        for workers in [0, 1, 3, 8] {
            let jobs = Workers::new(50, workers, 4, |number| {
                // The first of each group is the slowest.
                thread::sleep(Duration::from_micros(300 * (4 - number as u64 % 4)));
                assert_ne!(number, 7, "seven\nis bad");
                number
            });
            let results: Vec<_> = jobs.collect();
            assert_eq!(results.len(), 50);
            for (number, result) in results.into_iter().enumerate() {
                match number {
                    7 => assert!(result.unwrap_err().contains("seven is bad")),
                    _ => assert_eq!(result, Ok(number)),
                }
            }
        }
    }

    #[test]
    fn no_job_starts_further_ahead_than_allowed() {
        let started = Arc::new(AtomicUsize::new(0));
        let count = started.clone();
        let mut jobs = Workers::new(100, 2, 5, move |_| count.fetch_add(1, Ordering::SeqCst));
        for taken in 0..20 {
            thread::sleep(Duration::from_millis(2));
            assert!(started.load(Ordering::SeqCst) <= taken + 5);
            jobs.next();
        }
        drop(jobs);
        assert!(started.load(Ordering::SeqCst) <= 25);
    }
}
