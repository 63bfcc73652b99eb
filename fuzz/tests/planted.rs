//! Tests the checker: every defect that is planted in the engine is found within a number of seeds.
//!
//! ```text
//! cargo test --release -p zaichik-fuzz --features planted --test planted -- --nocapture
//! ```

#![cfg(feature = "planted")]

use std::panic::catch_unwind;

use zaichik_engine::{Defect, plant};
use zaichik_fuzz::sim::{Setup, run};

/// Maximum seeds to find each defect, unless `PLANTED_SEEDS` is set.
const SEEDS: u64 = 10_000;

#[test]
fn every_planted_defect_is_found() {
    let seeds = std::env::var("PLANTED_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let only = std::env::var("PLANTED_DEFECT").ok();
    let mut missed = Vec::new();
    std::panic::set_hook(Box::new(|_| {}));
    for defect in
        Defect::ALL.iter().filter(|defect| only.as_ref().is_none_or(|only| format!("{defect:?}") == *only))
    {
        match (0..seeds).find_map(|seed| found(*defect, seed).map(|how| (seed, how))) {
            Some((seed, how)) => println!("{defect:?}: after {} seeds: {how}", seed + 1),
            None => missed.push(defect),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
}

/// The failure of a seed with a defect, if it fails.
fn found(defect: Defect, seed: u64) -> Option<String> {
    plant(Some(defect));
    let ran = catch_unwind(|| run(&Setup::new(seed)));
    plant(None);
    match ran {
        Ok(Ok(_)) => None,
        Ok(Err(failure)) => Some(failure.broken.to_string()),
        Err(_) => Some("a panic".to_owned()),
    }
}
