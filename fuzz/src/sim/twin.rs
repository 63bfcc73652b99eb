//! Isolation (I14): the same world with and without its attackers.

use super::plan::Plan;
use super::world::World;
use super::{Broken, Failure, SECOND, Setup, trace};

/// Simulated time that twins are compared over.
const TIME: u64 = 20 * SECOND;

/// Events within which that is to be done; busier worlds are not compared.
const EVENTS: usize = 200_000;

/// Runs a seed's world twice, once without its attackers, and compares what each honest client was sent, and when.
///
/// Says whether there was anything to compare: where limits are shared attackers may use them up. Late housekeeping is
/// left out, because it has no time of its own, and so are clocks that go back: the broker goes by the latest time that
/// anybody told, so there everybody has a say in what time it is.
///
/// # Errors
/// [`Failure`] if an attacker made a difference, or if a rule does not hold.
pub fn twin(seed: u64) -> Result<bool, Box<Failure>> {
    let without = |classes: &[&str]| {
        let without = classes.iter().map(|class| (*class).to_owned()).collect();
        Setup { without, ..Setup::new(seed) }
    };
    let (attacked, peaceful) =
        (without(&["late", "clock-back"]), without(&["late", "clock-back", "attackers"]));
    let plan = Plan::draw(&attacked);
    let honest = Plan::draw(&peaceful).roles.len();
    if plan.limits.are_shared || plan.roles.len() == honest {
        return Ok(false);
    }
    let (Some(with), Some(without)) = (heard(&attacked)?, heard(&peaceful)?) else {
        return Ok(false);
    };
    match (0..honest).find(|index| with[*index] != without[*index]) {
        None => Ok(true),
        Some(index) => {
            let text =
                format!("client {index} was sent other bytes, or at other times, than without the attackers");
            Err(Box::new(Failure {
                setup: attacked,
                broken: Broken { rule: "I14", text },
                story: trace::tell(),
            }))
        }
    }
}

fn heard(setup: &Setup) -> Result<Option<Vec<u64>>, Box<Failure>> {
    let mut plan = Plan::draw(setup);
    // So that few things happen at one moment: which of them is first may be for an attacker to decide.
    plan.grain = 1;
    trace::begin(plan.to_string(), setup.is_loud);
    let mut world = World::new(plan);
    match world.run_for(TIME, EVENTS) {
        Ok(is_done) => Ok(is_done.then(|| world.heard())),
        Err(broken) => Err(Box::new(Failure { setup: setup.clone(), broken, story: trace::tell() })),
    }
}
