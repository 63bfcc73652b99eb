//! Tests the checker: every planted defect is found within a number of seeds.
//!
//! ```text
//! cargo test --release -p zaichik-fuzz --features planted --test planted -- --nocapture
//! ```

#![cfg(feature = "planted")]

use std::collections::VecDeque;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;

use zaichik_fuzz::sim::{Defect, Setup, run};

/// Maximum seeds to find each defect, unless `PLANTED_SEEDS` is set.
const SEEDS: u64 = 10_000;

#[test]
fn every_planted_defect_is_found() {
    let seeds = std::env::var("PLANTED_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let only = std::env::var("PLANTED_DEFECT").ok();
    let defects = defects().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
    let (defects, missed) = (Mutex::new(defects.collect::<VecDeque<_>>()), Mutex::new(Vec::new()));
    std::panic::set_hook(Box::new(|_| {}));
    // A defect is planted in one thread, so each thread looks for another one.
    let search = || {
        let next = || defects.lock().unwrap().pop_front();
        while let Some((name, plant)) = next() {
            match (0..seeds).find_map(|seed| found(&*plant, seed).map(|how| (seed, how))) {
                Some((seed, how)) => println!("{name}: after {} seeds: {how}", seed + 1),
                None => missed.lock().unwrap().push(name),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(search);
        }
    });
    let _ = std::panic::take_hook();
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
}

/// Plants a defect in a run and in this thread, or removes it from the thread.
type Plant = Box<dyn Fn(Option<&mut Setup>) + Send>;

/// The defects at the edge of the broker, in the broker and in the client, by name.
fn defects() -> impl Iterator<Item = (String, Plant)> {
    use zaichik_client as client;
    use zaichik_engine as broker;
    let at_edge = Defect::ALL.iter().map(|defect| {
        let plant: Plant = Box::new(|setup| {
            if let Some(setup) = setup {
                setup.defect = Some(*defect);
            }
        });
        (format!("{defect:?}"), plant)
    });
    let in_broker = broker::Defect::ALL.iter().map(|defect| {
        let plant: Plant = Box::new(|setup| broker::plant(setup.map(|_| *defect)));
        (format!("{defect:?}"), plant)
    });
    let in_client = client::Defect::ALL.iter().map(|defect| {
        let plant: Plant = Box::new(|setup| client::plant(setup.map(|_| *defect)));
        (format!("{defect:?}"), plant)
    });
    at_edge.chain(in_broker).chain(in_client)
}

/// The failure of a seed with a defect, if it fails, and does not without.
fn found(plant: &dyn Fn(Option<&mut Setup>), seed: u64) -> Option<String> {
    let mut setup = Setup::new(seed);
    plant(Some(&mut setup));
    let failure = failure_of(&setup);
    plant(None);
    failure.filter(|_| failure_of(&Setup::new(seed)).is_none())
}

fn failure_of(setup: &Setup) -> Option<String> {
    match catch_unwind(|| run(setup)) {
        Ok(Ok(_)) => None,
        Ok(Err(failure)) => Some(failure.broken.to_string()),
        Err(_) => Some("a panic".to_owned()),
    }
}
