//! Runs [`zaichik_fuzz::client`] on the fuzzer's input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zaichik_fuzz::client(data));
