//! Shrinks a failing run: fewer events, then fewer faults and clients.

use super::{FAULT_CLASSES, Failure, Setup, run};

/// The smallest run found that breaks the same rule; `None` if the run breaks none.
///
/// Classes of faults and clients draw from separate streams, so the remaining ones behave as before.
#[must_use]
pub fn shrink(setup: &Setup) -> Option<Box<Failure>> {
    let mut smallest = run(setup).err()?;
    let rule = smallest.broken.rule;
    let again = |setup: Setup| run(&setup).err().filter(|failure| failure.broken.rule == rule);
    let mut low = 0;
    let mut high = setup.events.unwrap_or(20_000);
    while low < high {
        let events = low.midpoint(high);
        match again(Setup { events: Some(events), ..smallest.setup.clone() }) {
            Some(failure) => (smallest, high) = (failure, events),
            None => low = events + 1,
        }
    }
    let clients = (0..16).map(|index| format!("client-{index}"));
    let names: Vec<_> = FAULT_CLASSES.iter().map(|class| (*class).to_owned()).chain(clients).collect();
    for name in names {
        let mut setup = smallest.setup.clone();
        setup.without.push(name);
        if let Some(failure) = again(setup) {
            smallest = failure;
        }
    }
    Some(smallest)
}
