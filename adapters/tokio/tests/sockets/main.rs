//! What only sockets show.

#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

mod clients;
mod raw;
mod wire;
