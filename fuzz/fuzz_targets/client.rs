//! Runs [`zaichik_fuzz::client`] on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zaichik_fuzz::client(data));
