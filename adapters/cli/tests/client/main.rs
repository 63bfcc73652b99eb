//! The client commands of `zaichik`, as processes that talk to a broker process.
#![cfg(unix)]
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod broker;
mod commits;
mod errors;
mod help;
mod network;
mod patterns;
mod producer;
#[path = "../pty/mod.rs"]
mod pty;
mod publish;
mod readme;
mod streams;
mod subscribe;
mod subscription;
mod terminal;
mod topic;
