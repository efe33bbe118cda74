//! What threads share: that of std, or under `--cfg loom` that of loom, which tries all orders.

#[cfg(not(loom))]
pub(super) use real::{AtomicU64, AtomicUsize, Ordering, UnsafeCell, Waiting};
#[cfg(loom)]
pub(super) use {
    loom::cell::UnsafeCell,
    loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    modelled::Waiting,
};

#[cfg(not(loom))]
mod real {
    pub(in super::super) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use std::hint::spin_loop;
    use std::thread::yield_now;
    use std::time::{Duration, Instant};

    /// With loom's interface, which sees who reads and who writes.
    #[derive(Default)]
    pub(in super::super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        #[inline(always)]
        pub(in super::super) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline(always)]
        pub(in super::super) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }

    /// Looks before a waiting thread offers its core to others: some tens of microseconds.
    const PATIENCE: u32 = 1 << 12;

    /// Far above the time between two regions, also of a leader that the system stopped.
    const TOO_LONG: Duration = Duration::from_millis(100);

    /// A thread that looks again and again.
    #[derive(Default)]
    pub(in super::super) struct Waiting {
        looks: u32,
        since: Option<Instant>,
        too_long: bool,
    }

    impl Waiting {
        #[inline(always)]
        pub(in super::super) fn look_again(&mut self) {
            self.looks = self.looks.wrapping_add(1);
            if !self.looks.is_multiple_of(PATIENCE) {
                return spin_loop();
            }
            self.too_long = self.since.get_or_insert_with(Instant::now).elapsed() > TOO_LONG;
            yield_now();
        }

        /// Whether nothing happened for so long that something else may be wanted of this thread.
        pub(in super::super) fn too_long(&self) -> bool {
            self.too_long
        }
    }
}

#[cfg(loom)]
mod modelled {
    /// A model has no time: after two looks it has been too long, which bounds the orders to try.
    #[derive(Default)]
    pub(in super::super) struct Waiting {
        looks: u32,
    }

    impl Waiting {
        pub(in super::super) fn look_again(&mut self) {
            self.looks += 1;
            loom::thread::yield_now();
        }

        pub(in super::super) fn too_long(&self) -> bool {
            self.looks >= 2
        }
    }
}
