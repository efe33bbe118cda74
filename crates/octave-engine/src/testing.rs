//! What the tests of this module share.

use proptest::test_runner::Config;

/// How a property is tried: on so many random cases, or on as many as `PROPTEST_CASES` says where
/// something makes each case slow.
pub(crate) fn cases(cases: u32) -> Config {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(cases),
    }
}

/// A small generator of uniform numbers (xorshift64*), for data that is the
/// same on every run.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in [-1, 1).
    pub(crate) fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub(crate) fn fill(&mut self, x: &mut [f32]) {
        x.iter_mut().for_each(|v| *v = self.next());
    }

    pub(crate) fn vec(&mut self, len: usize) -> Vec<f32> {
        let mut v = vec![0.0; len];
        self.fill(&mut v);
        v
    }
}
