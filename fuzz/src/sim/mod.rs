//! The simulator: a broker, its sessions, real clients, the network and the time in one thread, all drawn from one seed.
//!
//! A run draws a plan and injects faults for a number of events; then it stops them and checks that every request is
//! answered and every record delivered. The checker compares every exchange with the [model](crate::model).
//! `docs/testing.md` explains the letters and numbers of rules.
//!
//! ```
//! use zaichik_fuzz::sim::{Setup, run};
//! let report = run(&Setup { events: Some(200), ..Setup::new(7) }).expect("every rule holds");
//! assert_eq!(report.hash, run(&Setup { events: Some(200), ..Setup::new(7) }).unwrap().hash);
//! ```

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each rule is about a few of many frames and answers; a new one is no case of it"
)]

mod app;
mod check;
mod pair;
mod pipe;
mod plan;
mod planted;
mod random;
mod raw;
mod setup;
mod shrink;
mod trace;
mod twin;
mod world;

use std::fmt;

pub use self::plan::FAULT_CLASSES;
use self::plan::Plan;
pub use self::planted::Defect;
use self::planted::Saboteur;
pub use self::setup::Setup;
pub(crate) use self::setup::{MILLI, SECOND};
pub use self::shrink::shrink;
pub use self::trace::report_panics;
pub use self::twin::twin;
pub use self::world::Counts;
use self::world::World;
pub use crate::broken::Broken;

/// A run in which every rule holds.
#[derive(Debug, Clone)]
pub struct Report {
    /// How often things happened.
    pub counts: Counts,
    /// Simulated time, in microseconds.
    pub elapsed: u64,
    /// Requests that the broker applied.
    pub requests: u64,
    /// Records that it delivered.
    pub deliveries: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Hash of all events and of all bytes that were sent.
    pub hash: u64,
}

/// A run in which a rule does not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Reproduces the run.
    pub setup: Setup,
    /// The rule.
    pub broken: Broken,
    /// The plan and the last events.
    pub story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.story)?;
        writeln!(f, "{}", self.broken)?;
        write!(f, "again: cargo run --release -p zaichik-fuzz --bin simulate -- --seed {}", self.setup.seed)?;
        if let Some(events) = self.setup.events {
            write!(f, " --events {events}")?;
        }
        if let Some(defect) = self.setup.defect {
            write!(f, " --plant {defect:?}")?;
        }
        if self.setup.has_store {
            write!(f, " --stored")?;
        }
        self.setup.without.iter().try_for_each(|class| write!(f, " --without {class}"))
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// [`Failure`] if a rule does not hold. A panic is not caught; [`report_panics`] makes it print the run.
pub fn run(setup: &Setup) -> Result<Report, Box<Failure>> {
    let plan = Plan::draw(setup);
    trace::begin(plan.to_string(), setup.prints_events);
    let mut world = World::new(plan);
    world.saboteur = setup.defect.map(|defect| Saboteur::new(defect, &world.plan.broker().wire));
    let ran = world.run().and_then(|()| world.heal()).and_then(|()| world.close());
    if let Err(broken) = ran {
        return Err(Box::new(Failure { setup: setup.clone(), broken, story: trace::story() }));
    }
    Ok(Report {
        counts: world.counts,
        elapsed: world.elapsed(),
        requests: world.checker.requests,
        deliveries: world.checker.deliveries,
        acknowledged: world.checker.apps.acknowledged,
        hash: world.hash(),
    })
}
