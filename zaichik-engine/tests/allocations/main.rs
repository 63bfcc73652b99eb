//! Allocations of the broker: none per message once it has warmed up, and no more than its ledger says.

#![expect(clippy::arithmetic_side_effects, clippy::expect_used, reason = "a panic fails the test")]

mod ledger;
mod steady;
mod world;
