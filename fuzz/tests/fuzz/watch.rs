//! Ends the process if an input takes too long.

use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(200);

/// How often an input may be seen: ten seconds long. The clock would also count how long the process is
/// stopped.
const LOOKS: u32 = 50;

/// The number of the input at hand, from 1; 0 if there is none.
static AT_HAND: AtomicU64 = AtomicU64::new(0);

/// Starts to watch.
pub fn start() {
    thread::spawn(|| {
        let (mut seen, mut looks) = (0, 0);
        loop {
            thread::sleep(PAUSE);
            let at_hand = AT_HAND.load(Ordering::Relaxed);
            looks = if at_hand == seen { looks + 1 } else { 1 };
            seen = at_hand;
            if seen > 0 && looks > LOOKS {
                eprintln!("the input takes more than {:?}", PAUSE * LOOKS);
                process::abort();
            }
        }
    });
}

/// An input begins.
pub fn begin(number: u64) {
    AT_HAND.store(number, Ordering::Relaxed);
}

/// It has ended.
pub fn end() {
    AT_HAND.store(0, Ordering::Relaxed);
}
