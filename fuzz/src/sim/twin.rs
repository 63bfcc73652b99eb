//! Isolation (rule I14): the same run with and without its attackers.

use super::plan::Plan;
use super::world::World;
use super::{Broken, Failure, SECOND, Setup, trace};

/// Simulated time for which twins are compared.
const TIME: u64 = 20 * SECOND;

/// Maximum number of events in that time; runs with more are not compared.
const EVENTS: usize = 200_000;

/// Runs a seed twice, once without its attackers, and compares what each honest client receives, and when.
///
/// Returns whether the runs could be compared: attackers may exhaust shared limits. Four classes of faults are left out:
/// late housekeeping, whose delay depends on every client's events, clocks that move backwards, since the broker uses the
/// latest time passed to any call, pauses, after which events of many clients are due at the same time, and the store, which
/// all clients share.
///
/// # Errors
/// [`Failure`] if an attacker made a difference, or if a rule does not hold.
pub fn twin(seed: u64) -> Result<bool, Box<Failure>> {
    let without = |classes: &[&str]| {
        let without = classes.iter().map(|class| (*class).to_owned()).collect();
        Setup { without, ..Setup::new(seed) }
    };
    let (attacked, peaceful) = (
        without(&["late", "clock-back", "pause", "storage"]),
        without(&["late", "clock-back", "pause", "storage", "attackers"]),
    );
    let plan = Plan::draw(&attacked);
    let honest = Plan::draw(&peaceful).roles.len();
    if plan.limits.are_shared || plan.roles.len() == honest {
        return Ok(false);
    }
    let (Some(with), Some(without)) = (received(&attacked)?, received(&peaceful)?) else {
        return Ok(false);
    };
    match (0..honest).find(|index| with[*index] != without[*index]) {
        None => Ok(true),
        Some(index) => {
            let text =
                format!("client {index} receives other bytes, or at other times, than without the attackers");
            Err(Box::new(Failure {
                setup: attacked,
                broken: Broken { rule: "I14", text },
                story: trace::story(),
            }))
        }
    }
}

fn received(setup: &Setup) -> Result<Option<Vec<u64>>, Box<Failure>> {
    let mut plan = Plan::draw(setup);
    // Few events coincide then: attackers may influence the order of events at the same time.
    plan.grain = 1;
    trace::begin(plan.to_string(), setup.prints_events);
    let mut world = World::new(plan);
    match world.run_for(TIME, EVENTS) {
        Ok(is_done) => Ok(is_done.then(|| world.received())),
        Err(broken) => Err(Box::new(Failure { setup: setup.clone(), broken, story: trace::story() })),
    }
}
