//! The most arithmetic that the processor does, for telling how near a kernel comes to it.

use std::time::{Duration, Instant};

use crate::isa::{Isa, simd_kernel};
use crate::parallel;
use crate::simd::Simd;

/// Sums that do not wait for each other, to hide the latency of one: as many as fit into sixteen
/// registers beside the factor and the summand.
const CHAINS: usize = 14;

/// Rounds of all chains between two looks at the clock; some 10 µs.
const ROUNDS: usize = 1 << 9;

#[inline(always)]
unsafe fn rounds_with<S: Simd>(start: &[f32; 2], sink: &mut [f32; 16]) -> usize {
    // SAFETY: contract of `rounds`; `sink` holds the widest vector.
    unsafe {
        let (factor, summand) = (S::splat(&start[0]), S::splat(&start[1]));
        let mut sums = [summand; CHAINS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = S::mul_add(*sum, factor, summand);
            }
        }
        for sum in sums {
            S::store(sink.as_mut_ptr(), S::add(sum, S::load(sink.as_ptr())));
        }
    }
    ROUNDS * CHAINS * S::LANES
}

simd_kernel! {
    /// Multiplies and adds in registers; returns how often.
    ///
    /// # Safety
    ///
    /// None beyond what the instruction set asks for, which the `Isa` proves.
    unsafe fn rounds(start: &[f32; 2], sink: &mut [f32; 16]) -> usize = rounds_with
}

/// Multiply–adds per second that all threads of the current rayon pool reach together, in
/// registers alone; measured for 0.1 s.
pub fn peak_macs_per_second() -> f64 {
    let isa = Isa::best();
    let threads = rayon::current_num_threads();
    let start = Instant::now();
    let done = std::sync::atomic::AtomicUsize::new(0);
    parallel::for_each(threads, |_| {
        let mut sink = [0.0; 16];
        let mut macs = 0;
        while start.elapsed() < Duration::from_millis(100) {
            // SAFETY: an `Isa` exists only where the processor has the instruction set.
            macs += unsafe { rounds(isa, std::hint::black_box(&[0.5, 1.0]), &mut sink) };
        }
        std::hint::black_box(sink);
        done.fetch_add(macs, std::sync::atomic::Ordering::Relaxed);
    });
    done.into_inner() as f64 / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_compute_what_they_should() {
        for isa in Isa::available() {
            let mut sink = [0.0; 16];
            // SAFETY: it is available.
            let macs = unsafe { rounds(isa, &[0.5, 1.0], &mut sink) };
            // x ← x/2 + 1 ends at 2.
            assert_eq!(sink[0], 2.0 * CHAINS as f32);
            assert_eq!(macs % (ROUNDS * CHAINS), 0);
        }
        assert!(peak_macs_per_second() > 1e6);
    }
}
