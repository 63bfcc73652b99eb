//! A share of the simulator's seeds, and that a seed always does the same. More: `docs/testing.md`.

use zaichik_fuzz::sim::{Failure, Setup, run, tell_panics, twin};

/// Seeds that run with every `cargo test`.
const SEEDS: std::ops::Range<u64> = 0..60;

#[test]
fn every_rule_holds_in_a_share_of_the_seeds() {
    tell_panics();
    for seed in SEEDS {
        run(&Setup::new(seed)).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Rule I17.
#[test]
fn a_seed_does_the_same_twice() {
    for seed in [3, 1_000_003, u64::MAX] {
        let run = || run(&Setup::new(seed)).map_or_else(|failure| panic!("{failure}"), |report| report.hash);
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn different_seeds_do_different_things() {
    let hash =
        |seed| run(&Setup::new(seed)).map(|report| report.hash).map_err(|failure| failure.broken.to_string());
    assert_ne!(hash(1), hash(2));
}

#[test]
fn i_14_attackers_change_nothing_for_others() {
    let compared = (0..60).filter(|seed| twin(*seed).unwrap_or_else(|failure| panic!("{failure}"))).count();
    assert!(compared > 3, "there were attackers in {compared} worlds");
}

#[test]
fn a_failure_tells_how_to_see_it_again() {
    let setup = Setup { events: Some(7), without: vec!["reset".to_owned()], ..Setup::new(5) };
    let broken = zaichik_fuzz::sim::Broken { rule: "I1", text: "as a test".to_owned() };
    let told = Failure { setup, broken, story: String::new() }.to_string();
    assert!(told.ends_with("--seed 5 --events 7 --without reset"), "{told}");
}
