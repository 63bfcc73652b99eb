//! Hands woken subscriptions to their sessions, and resumes reading from sessions that waited for memory.

use super::memory::Memory;
use super::readiness::{Readiness, Waits};
use super::sessions::Sessions;
use super::turns::Turns;
use crate::effects::Effects;

/// Maximum subscriptions, or sessions, that one call hands out.
const WAKES_PER_CALL: u64 = 256;

/// Moves woken subscriptions to the ready rings of their sessions and wakes those sessions; returns how many, in steps,
/// and whether some remain. The calling session is not woken, because it delivers next.
pub(super) fn hand_out_wakes(mut turns: Turns<'_>, effects: &mut Effects) -> (u64, bool) {
    for handed in 0..WAKES_PER_CALL {
        let Some(key) = turns.readiness.pop_woken() else {
            return (handed, false);
        };
        let subscription = &turns.subscriptions[key];
        if let Some(holder) = subscription.holder() {
            turns.readiness.push(holder.ready, subscription.node);
            turns.sessions.wake(holder.session, turns.asking, effects);
        } else {
            turns.woken(key, effects);
        }
    }
    (WAKES_PER_CALL, turns.readiness.has_woken())
}

/// Wakes sessions that waited for memory for which there is memory now; returns how many, in steps, and whether some may
/// remain.
pub(super) fn release_waiting(
    sessions: &mut Sessions,
    memory: &mut Memory,
    readiness: &mut Readiness,
    effects: &mut Effects,
) -> (u64, bool) {
    for count in 0..WAKES_PER_CALL {
        let released = [Waits::ForLittle, Waits::ForMuch, Waits::ForRecords]
            .into_iter()
            .any(|waits| sessions.release(waits, memory, readiness, effects));
        if !released {
            return (count, false);
        }
    }
    (WAKES_PER_CALL, true)
}
