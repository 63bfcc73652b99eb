//! Handing out what became possible: woken subscriptions go to their sessions, and sessions that waited for memory are read
//! again.

use super::memory::Memory;
use super::readiness::Readiness;
use super::sessions::Sessions;
use super::subscriptions::Subscriptions;
use crate::effects::Effects;
use crate::id::SessionId;

/// Maximum subscriptions, or sessions, that one call hands out.
const WAKES_PER_CALL: usize = 256;

/// Moves woken subscriptions to the ready rings of their sessions and wakes these; whether some are left. The session that
/// asks is not woken: it delivers next.
pub(super) fn hand_out_wakes(
    asking: SessionId,
    sessions: &mut Sessions,
    subscriptions: &Subscriptions,
    readiness: &mut Readiness,
    effects: &mut Effects,
) -> bool {
    for _ in 0..WAKES_PER_CALL {
        let Some(key) = readiness.pop_woken() else {
            return false;
        };
        let subscription = &subscriptions[key];
        if let Some(holder) = subscription.holder() {
            readiness.push(holder.ready, subscription.node);
            sessions.wake(holder.session, asking, effects);
        }
    }
    readiness.has_woken()
}

/// Wakes sessions that waited for memory, if memory is no longer short; whether some are left.
pub(super) fn release_throttled(
    sessions: &mut Sessions,
    memory: &Memory,
    readiness: &mut Readiness,
    effects: &mut Effects,
) -> bool {
    if memory.is_pressed() {
        return false;
    }
    for _ in 0..WAKES_PER_CALL {
        let Some(slot) = readiness.pop_throttled() else {
            return false;
        };
        sessions.wake_slot(slot, effects);
    }
    readiness.has_throttled()
}
