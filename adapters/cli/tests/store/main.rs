//! `zaichik store`, on directories that the broker of this command wrote.
#![cfg(unix)]
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod backup;
mod check;
mod dump;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod full;
mod info;
#[path = "../pty/mod.rs"]
mod pty;
mod refusals;
mod repair;
mod stored;
