//! Runs [`zaichik_fuzz::restart`] on the fuzzer's input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zaichik_fuzz::restart(data));
