//! Runs [`zaichik_fuzz::decode_server`] on the fuzzer's input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zaichik_fuzz::decode_server(data));
