//! The target `weights` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    burn_octconv_fuzz::weights::TARGET.try_on(bytes);
});
