//! The subscriptions of a client whose reader waits for an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use zaichik_client::{Client as Machine, SubscriptionId};
use zaichik_proto::Timestamp;

use super::wakes::{Wakes, keep};

/// How long a reader waits for its own commit before that is worth a warning.
const PATIENCE: Duration = Duration::from_secs(10);

/// Readers by subscription: at most one each.
#[derive(Debug, Default)]
pub(super) struct Readers {
    readers: BTreeMap<SubscriptionId, Reader>,
    /// When the readers were last checked.
    checked_at: Timestamp,
}

#[derive(Debug)]
struct Reader {
    topic: Arc<str>,
    waker: Option<Waker>,
    /// Since when it waits.
    since: Timestamp,
    has_warned: bool,
}

impl Readers {
    /// The reader of a subscription waits.
    pub(super) fn wait(&mut self, id: SubscriptionId, topic: &Arc<str>, now: Timestamp, waker: &Waker) {
        let reader = self.readers.entry(id).or_insert_with(|| Reader {
            topic: Arc::clone(topic),
            waker: None,
            since: now,
            has_warned: false,
        });
        if reader.waker.is_none() {
            reader.since = now;
        }
        keep(&mut reader.waker, waker);
    }

    /// The waker of a subscription's reader, if it waits.
    pub(super) fn wake(&mut self, id: SubscriptionId) -> Option<Waker> {
        self.readers.get_mut(&id)?.waker.take()
    }

    pub(super) fn forget(&mut self, id: SubscriptionId) {
        self.readers.remove(&id);
    }

    pub(super) fn wake_all(&mut self, wakes: &mut Wakes) {
        for reader in self.readers.values_mut() {
            wakes.extend(reader.waker.take());
        }
    }

    /// Warns, once each, of readers that have waited long for a message that can't arrive before their own commit.
    ///
    /// O(n) in the readers, and at most once in [`PATIENCE`].
    pub(super) fn warn(&mut self, machine: &Machine, now: Timestamp) {
        if now < self.checked_at + PATIENCE {
            return;
        }
        self.checked_at = now;
        for (id, reader) in &mut self.readers {
            let is_late = reader.waker.is_some() && now >= reader.since + PATIENCE;
            if is_late && !reader.has_warned && machine.is_window_taken(*id) {
                reader.has_warned = true;
                tracing::warn!(
                    topic = &*reader.topic,
                    "no message can arrive, because every message of the subscription's window was taken and none is \
                     committed; commit, or use a larger window to collect more messages"
                );
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }
}
