//! What only sockets show.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests are not test functions")]

mod clients;
mod raw;
mod wire;
