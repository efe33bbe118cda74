use super::sync::{AtomicUsize, Ordering};

/// Jobs that threads take in order, each once.
pub(super) struct Jobs {
    next: AtomicUsize,
    count: usize,
}

impl Jobs {
    pub(super) fn new(count: usize) -> Self {
        let next = AtomicUsize::new(0);
        Self { next, count }
    }

    /// Does jobs until none is left.
    pub(super) fn take(&self, job: impl Fn(usize)) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                break;
            }
            job(index);
        }
    }
}
