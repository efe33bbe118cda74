//! The target `sets` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    burn_octconv_fuzz::sets::TARGET.try_on(bytes);
});
