//! Taking what a subscription has received: a step that is done for every message.

use zaichik_client::{Client as Machine, Event, Hold, PatternEvent, SubscriptionId};

use super::{Core, State};
use crate::planted::{Defect, is_planted};

impl Core {
    /// The next message or event of a subscription, and with what it is settled; `None` if none has been received.
    ///
    /// The clock is not read, because taking a message answers no request and makes no room for one. Wakes the background
    /// task if there is room to read again.
    pub(crate) fn take_event(&self, id: SubscriptionId) -> Option<(Event, Option<Hold>)> {
        self.take(|machine| {
            let event = machine.poll_event(id)?;
            Some((event, machine.hold(id)))
        })
    }

    /// The next event of a pattern; `None` if none has been received. Otherwise as [`take_event`](Self::take_event).
    pub(crate) fn take_pattern_event(&self, id: SubscriptionId) -> Option<PatternEvent> {
        self.take(|machine| machine.poll_pattern(id))
    }

    fn take<T>(&self, take: impl FnOnce(&mut Machine) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        let taken = take(&mut state.machine)?;
        let task = if state.may_read_again() { state.task.take() } else { None };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Some(taken)
    }
}

impl State {
    /// Taking a message may have made room for the next one, for which the stream was not polled: then it has to be.
    pub(super) fn may_read_again(&mut self) -> bool {
        let may_read =
            self.is_paused && self.machine.wants_read() && !is_planted(Defect::ClientReadForgotten);
        self.is_paused &= !may_read;
        may_read
    }
}
