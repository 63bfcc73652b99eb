//! Runs [`zaichik_fuzz::rows`] on the fuzzer's input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zaichik_fuzz::rows(data));
