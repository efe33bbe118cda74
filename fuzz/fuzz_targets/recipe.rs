//! The target `recipe` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    burn_octconv_fuzz::recipe::TARGET.try_on(bytes);
});
