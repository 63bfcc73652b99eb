//! Allocations of the broker: none per message once it has warmed up, no more than its ledger says, and few in one call.

#![expect(clippy::arithmetic_side_effects, clippy::expect_used, reason = "a panic fails the test")]

mod growth;
mod ledger;
mod steady;
mod world;
