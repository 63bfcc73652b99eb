//! What a step of the broker causes elsewhere, done after unlocking.

use std::task::Waker;

use zaichik_engine::Note;

/// Sessions woken after one turn; the housekeeping task wakes the others, and yields in between.
const WAKES_PER_TURN: usize = 64;

/// The effects of a step, handled after unlocking.
pub(super) struct Aftermath {
    wakers: [Option<Waker>; WAKES_PER_TURN],
    woken: usize,
    pub(super) housekeeper: Option<Waker>,
    pub(super) store: Option<Waker>,
    pub(super) reader: Option<Waker>,
    pub(super) notes: Vec<Note>,
}

impl Aftermath {
    pub(super) const fn new() -> Self {
        Self {
            wakers: [const { None }; WAKES_PER_TURN],
            woken: 0,
            housekeeper: None,
            store: None,
            reader: None,
            notes: Vec::new(),
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.woken >= WAKES_PER_TURN
    }

    pub(super) fn push(&mut self, waker: Waker) {
        if let Some(place) = self.wakers.get_mut(self.woken) {
            *place = Some(waker);
            self.woken = self.woken.saturating_add(1);
        }
    }

    /// Wakes the tasks and writes the log.
    pub(super) fn run(self) {
        // The store first: its work takes longest.
        self.store.into_iter().chain(self.reader).for_each(Waker::wake);
        self.wakers.into_iter().take(self.woken).flatten().for_each(Waker::wake);
        if let Some(housekeeper) = self.housekeeper {
            housekeeper.wake();
        }
        for note in &self.notes {
            log(note);
        }
    }
}

fn log(note: &Note) {
    let Note { session, topic, event, .. } = note;
    if let Some(topic) = topic {
        tracing::debug!(connection = %session, topic = &**topic, "{event}");
    } else {
        tracing::debug!(connection = %session, "{event}");
    }
}
