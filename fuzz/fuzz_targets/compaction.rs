//! Runs [`zaichik_fuzz::compaction`] on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zaichik_fuzz::compaction(data));
