//! The rules of the broker, tested over bytes in simulated time: a test's name begins with the rule that it tests.

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

#[cfg(test)]
mod altered;
#[cfg(test)]
mod batch_refusals;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod client;
#[cfg(test)]
mod client_reconnect;
#[cfg(test)]
mod cold;
#[cfg(test)]
mod cold_reject;
#[cfg(test)]
mod cold_restart;
mod compaction;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod dead_letter;
#[cfg(test)]
mod dead_letter_refused;
#[cfg(test)]
mod declared;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod describe;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod floods;
mod full;
mod gaps;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod interval;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod latest;
#[cfg(test)]
mod latest_gaps;
#[cfg(test)]
mod latest_limits;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod order;
#[cfg(test)]
mod overflow;
mod pages;
#[cfg(test)]
mod patterns;
#[cfg(test)]
mod patterns_work;
#[cfg(test)]
mod producer_memory;
#[cfg(test)]
mod producers;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod rewind;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod session;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod shared_batches;
#[cfg(test)]
mod shared_returns;
#[cfg(test)]
mod shared_storage;
#[cfg(test)]
mod start;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod storage_client;
#[cfg(test)]
mod storage_damage;
mod storing;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod trimmed;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod wakes;
#[cfg(test)]
mod window;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod work;
#[cfg(test)]
mod world;
