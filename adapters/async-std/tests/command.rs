//! The command `zaichik-async-std` as a process.
#![cfg(feature = "broker")]

zaichik_parity::command_tests!(env!("CARGO_BIN_EXE_zaichik-async-std"));
