//! Nothing is left asleep: after any interleaving of connections with their broker, and without any time passing, every
//! accepted record has reached every subscriber that reads, and every request is answered (rules I5, I16).
//!
//! Timers would hide a lost wake for a while: a heartbeat wakes a connection, too. So a run lets no time pass until all
//! tasks sleep, and then looks.
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

mod memory;
mod peer;
#[cfg(feature = "planted")]
mod planted;
mod program;
mod reader;

use program::run;

/// Seeds that are run; every planted defect is found within far fewer.
const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 2_000 };

#[test]
fn i16_nothing_is_left_asleep() {
    let mut seen = program::Seen::default();
    for seed in 0..SEEDS {
        match run(seed) {
            Ok(of_seed) => seen.add(&of_seed),
            Err(stranded) => panic!("seed {seed}: {stranded}"),
        }
    }
    // The runs reach what they are for.
    assert!(seen.records > SEEDS * 10, "{seen:?}");
    assert!(seen.answers > SEEDS * 10, "{seen:?}");
    assert!(seen.refused > SEEDS / 2, "{seen:?}");
    assert!(seen.blocked > SEEDS / 4, "{seen:?}");
    assert!(seen.paused > SEEDS / 4, "{seen:?}");
    assert!(seen.throttled > SEEDS / 8, "{seen:?}");
}
