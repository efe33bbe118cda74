//! The target `archive` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    burn_octconv_fuzz::archive::TARGET.try_on(bytes);
});
