//! Tests the test: every defect that is planted in the driver is found within a number of seeds.
//!
//! ```text
//! cargo test --release -p zaichik-simulated --features planted --test stranded -- --nocapture
//! ```

use std::panic::catch_unwind;

use zaichik_driver::{Defect, plant};

use crate::program::run;

/// Maximum seeds to find each defect.
const SEEDS: u64 = 300;

#[test]
fn every_planted_defect_is_found() {
    let mut missed = Vec::new();
    for defect in Defect::ALL {
        plant(Some(*defect));
        let found = (0..SEEDS).find_map(|seed| match catch_unwind(|| run(seed)) {
            Ok(Ok(_)) => None,
            Ok(Err(stranded)) => Some((seed, stranded)),
            Err(_) => Some((seed, "a panic".to_owned())),
        });
        plant(None);
        match found {
            Some((seed, how)) => println!("{defect:?}: after {} seeds: {how}", seed + 1),
            None => missed.push(*defect),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
