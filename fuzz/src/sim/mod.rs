//! The simulator: a broker, its sessions, real clients, the network and the time in one thread, decided by one seed.
//!
//! A run draws a plan, lets everything go wrong for a number of events, heals the world and asks for what is owed then.
//! After every event the checker holds what happened against the rules. What a rule's letter and number mean is in
//! `docs/testing.md`.
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
mod pipe;
mod plan;
mod random;
mod raw;
mod shrink;
mod trace;
mod twin;
mod world;

use std::fmt;

pub use self::plan::FAULT_CLASSES;
use self::plan::Plan;
pub use self::shrink::shrink;
pub use self::trace::tell_panics;
pub use self::twin::twin;
pub use self::world::Counts;
use self::world::World;
pub use crate::broken::Broken;

/// Microseconds in a millisecond.
pub(crate) const MILLI: u64 = 1_000;
/// Microseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Decides everything else.
    pub seed: u64,
    /// Events of the first phase, instead of what the seed draws.
    pub events: Option<usize>,
    /// Classes of faults, from [`FAULT_CLASSES`], that do not happen although the seed draws them, and clients, as
    /// `client-3`, that are not there.
    pub without: Vec<String>,
    /// Whether each event is printed when it happens.
    pub is_loud: bool,
}

impl Setup {
    /// A seed as it is.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

/// A run in which every rule held.
#[derive(Debug, Clone)]
pub struct Report {
    /// What happened how often.
    pub counts: Counts,
    /// Simulated time, in microseconds.
    pub elapsed: u64,
    /// Requests that the broker applied.
    pub requests: u64,
    /// Records that it delivered.
    pub deliveries: u64,
    /// Records whose publishers were told that they are in the log.
    pub acknowledged: u64,
    /// Of everything that happened and everything that was sent.
    pub hash: u64,
}

/// A run in which one did not.
#[derive(Debug, Clone)]
pub struct Failure {
    /// How to see it again.
    pub setup: Setup,
    /// Which rule.
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
        self.setup.without.iter().try_for_each(|class| write!(f, " --without {class}"))
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// [`Failure`] if a rule does not hold. A panic is left to its hook; [`tell_panics`] makes it tell the seed.
pub fn run(setup: &Setup) -> Result<Report, Box<Failure>> {
    let plan = Plan::draw(setup);
    trace::begin(plan.to_string(), setup.is_loud);
    let mut world = World::new(plan);
    let ran = world.run().and_then(|()| world.heal()).and_then(|()| world.close());
    if let Err(broken) = ran {
        return Err(Box::new(Failure { setup: setup.clone(), broken, story: trace::tell() }));
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
