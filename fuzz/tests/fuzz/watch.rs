//! Ends the process if an input takes too long.

use std::{
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Seconds that an input may take.
const LONGEST: u64 = 10;

/// Milliseconds at which the input at hand was begun; 0 if there is none.
static BEGUN: AtomicU64 = AtomicU64::new(0);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    START.elapsed().as_millis() as u64 + 1
}

/// Starts to watch.
pub fn start() {
    LazyLock::force(&START);
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_millis(200));
            let begun = BEGUN.load(Ordering::Relaxed);
            if begun > 0 && now() > begun + 1000 * LONGEST {
                eprintln!("the input takes more than {LONGEST} s");
                process::abort();
            }
        }
    });
}

/// An input begins.
pub fn begin() {
    BEGUN.store(now(), Ordering::Relaxed);
}

/// It has ended.
pub fn end() {
    BEGUN.store(0, Ordering::Relaxed);
}
