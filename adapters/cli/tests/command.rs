//! The command `zaichik` as a process.

zaichik_parity::command_tests!(env!("CARGO_BIN_EXE_zaichik"));
