//! The target `pictures` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    burn_octconv_fuzz::pictures::TARGET.try_on(bytes);
});
