//! A few of the simulator's seeds, and reproducibility; see `docs/testing.md`.

use zaichik_fuzz::sim::{Failure, Setup, report_panics, run, twin};

/// Seeds that run with every `cargo test`.
const SEEDS: std::ops::Range<u64> = 0..60;

/// Seeds with a store that have failed, because of the broker, the client or the checker.
const ONCE_FAILED: [u64; 13] = [
    40_002_895, 40_007_387, 50_019_276, 50_032_610, 50_045_345, 50_045_955, 50_046_174, 50_046_387,
    60_001_426, 60_001_756, 74_000_264, 76_000_231, 78_000_193,
];

/// The same, without members.
const FAILED_WITHOUT_MEMBERS: [u64; 4] = [50_013_088, 50_026_871, 50_040_005, 50_056_146];

#[test]
fn every_rule_holds_in_the_first_seeds() {
    report_panics();
    for seed in SEEDS {
        run(&Setup::new(seed)).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn every_rule_holds_in_seeds_that_have_failed() {
    report_panics();
    for seed in ONCE_FAILED {
        let setup = Setup { has_store: true, ..Setup::new(seed) };
        run(&setup).unwrap_or_else(|failure| panic!("{failure}"));
    }
    for seed in FAILED_WITHOUT_MEMBERS {
        let without = vec!["members".to_owned()];
        let setup = Setup { has_store: true, without, ..Setup::new(seed) };
        run(&setup).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Rule I17.
#[test]
fn a_seed_is_reproducible() {
    for seed in [3, 1_000_003, u64::MAX] {
        let run = || run(&Setup::new(seed)).map_or_else(|failure| panic!("{failure}"), |report| report.hash);
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn different_seeds_differ() {
    let hash =
        |seed| run(&Setup::new(seed)).map(|report| report.hash).map_err(|failure| failure.broken.to_string());
    assert_ne!(hash(1), hash(2));
}

#[test]
fn i14_attackers_have_no_effect_on_honest_clients() {
    let compared = (0..60).filter(|seed| twin(*seed).unwrap_or_else(|failure| panic!("{failure}"))).count();
    assert!(compared > 3, "{compared} runs had attackers");
}

#[test]
fn a_failure_prints_how_to_reproduce_it() {
    let setup = Setup { events: Some(7), without: vec!["reset".to_owned()], ..Setup::new(5) };
    let broken = zaichik_fuzz::sim::Broken { rule: "I1", text: "as a test".to_owned() };
    let shown = Failure { setup, broken, story: String::new() }.to_string();
    assert!(shown.ends_with("--seed 5 --events 7 --without reset"), "{shown}");
}
