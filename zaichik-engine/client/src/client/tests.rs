//! The client against a scripted broker, in simulated time.

#![expect(clippy::arithmetic_side_effects, reason = "numbers of a test are small, and an overflow fails it")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects and fails on everything else"
)]

mod batch;
mod batch_loss;
mod close;
mod durable;
mod exactly_once;
mod handshake;
mod nack;
mod order;
mod pattern_properties;
mod pattern_reconnect;
mod patterns;
mod peer;
mod producer;
mod properties;
mod quiet_acks;
mod reconnect;
mod requests;
mod resend;
mod retry;
mod room;
mod seek;
mod sent;
mod shared;
mod shared_window;
mod subscriptions;
mod trim;
