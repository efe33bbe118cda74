use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How much of a training epoch is spent waiting for batches. Clones share one clock.
///
/// A loop that waits much is not bound by the device but by the disk or by the workers that decode.
#[derive(Debug, Clone, Default)]
pub struct DataWait(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    start: Option<Instant>,
    waited: Duration,
    /// Images of the epoch that a run before this one was trained on.
    before: usize,
}

impl DataWait {
    /// Begins an epoch, or goes on with one after its first `before` images.
    pub fn begin(&self, before: usize) {
        *self.lock() = State {
            start: Some(Instant::now()),
            waited: Duration::ZERO,
            before,
        };
    }

    /// Images of the epoch that came before it was begun here.
    pub fn before(&self) -> usize {
        self.lock().before
    }

    /// Images per second, where `images` of the epoch are done.
    pub fn rate(&self, images: usize) -> f64 {
        let here = images.saturating_sub(self.before()) as f64;
        here / self.elapsed().as_secs_f64().max(1e-9)
    }

    /// Counts the time that `next` takes as waiting.
    pub fn during<T>(&self, next: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let item = next();
        self.lock().waited += start.elapsed();
        item
    }

    /// Time since the epoch began.
    pub fn elapsed(&self) -> Duration {
        self.lock()
            .start
            .map_or(Duration::ZERO, |start| start.elapsed())
    }

    /// The share of the epoch so far that was spent waiting, 0 to 1.
    pub fn share(&self) -> f64 {
        // Two statements, since the first one's lock is held to its end.
        let waited = self.lock().waited;
        let elapsed = self.elapsed();
        match elapsed.is_zero() {
            true => 0.0,
            false => waited.div_duration_f64(elapsed).min(1.0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every statement leaves the state consistent, also if another thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_epoch() {
        let wait = DataWait::default();
        assert_eq!(wait.share(), 0.0);
        wait.begin(0);
        // Longer than the epoch so far, which cannot be.
        wait.lock().waited = Duration::from_secs(1000);
        assert_eq!(wait.share(), 1.0);
        wait.clone().begin(0);
        assert_eq!(wait.during(|| 3), 3);
        assert!((0.0..1.0).contains(&wait.share()));
        assert!(wait.lock().waited > Duration::ZERO);
    }

    #[test]
    fn rates_count_the_images_of_this_run_alone() {
        let wait = DataWait::default();
        wait.begin(900);
        wait.lock().start = Instant::now().checked_sub(Duration::from_secs(10));
        let rate = wait.rate(1000);
        assert!((5.0..=10.0).contains(&rate), "{rate}");
        assert_eq!(wait.rate(800), 0.0);
    }
}
