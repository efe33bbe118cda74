use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use super::DataError;
use super::error::panic_message;

/// An iterator that runs in a thread of its own, one item ahead of the one that waits.
///
/// A panic of the iterator comes out as an error in its place. Dropping this ends the thread.
pub(super) struct Background<T> {
    /// None when all is over.
    running: Option<Running<T>>,
}

struct Running<T> {
    items: Receiver<Result<T, DataError>>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Background<T> {
    /// Runs `items`.
    ///
    /// # Panics
    ///
    /// Panics if the system has no thread left.
    pub fn new(items: impl Iterator<Item = Result<T, DataError>> + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(1);
        let thread = thread::spawn(move || {
            for item in items {
                if sender.send(item).is_err() {
                    return;
                }
            }
        });
        Self {
            running: Some(Running {
                items: receiver,
                thread,
            }),
        }
    }

    /// Waits for the thread's end and takes its panic.
    fn finish(&mut self) -> Option<DataError> {
        let Running { items, thread } = self.running.take()?;
        drop(items);
        let panic = thread.join().err()?;
        Some(DataError::WorkerPanicked {
            message: panic_message(&*panic),
        })
    }
}

impl<T: Send + 'static> Iterator for Background<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.running.as_ref()?.items.recv() {
            Ok(item) => Some(item),
            Err(_) => self.finish().map(Err),
        }
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        if let Some(Running { items, thread }) = self.running.take() {
            drop(items);
            // Nobody is left to be told of a panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_order_and_a_panic_after_them() {
        let items = |end| (0..10).map(move |n| if n == end { panic!("bad\nitem") } else { Ok(n) });
        let all: Vec<_> = Background::new(items(99)).collect();
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert_eq!(all, (0..10).collect::<Vec<_>>());

        let mut some = Background::new(items(3));
        for number in 0..3 {
            assert_eq!(some.next().unwrap().unwrap(), number);
        }
        let error = some.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("bad item"), "{error}");
        assert!(some.next().is_none());
    }

    #[test]
    fn an_endless_iterator_is_stopped() {
        let mut numbers = Background::new((0u64..).map(Ok));
        assert_eq!(numbers.next().unwrap().unwrap(), 0);
    }
}
