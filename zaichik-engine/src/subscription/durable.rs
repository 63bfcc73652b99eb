//! What makes a subscription outlive its connection (semantics D1 to D5).

use zaichik_proto::Timestamp;

/// The durable part of a subscription.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Unique within its topic.
    pub(crate) name: Box<str>,
    /// Rises with each attach.
    pub(crate) epoch: u32,
    /// The epoch with which the client came that holds it: that one, and those that it was given since, are its own.
    pub(crate) held_since: u32,
    /// How long it is kept while detached, in microseconds.
    pub(crate) inactive_micros: u64,
    /// When it is gone, once it is detached; [`Timestamp::MAX`] while it is attached.
    pub(crate) expires_at: Timestamp,
}

impl Durable {
    /// Whether who knows this epoch is the client that holds the subscription, or held it last.
    ///
    /// Not only the newest one counts: its Subscribed may have been lost with a connection.
    pub(crate) const fn is_held_under(&self, epoch: u32) -> bool {
        epoch > 0 && self.held_since <= epoch && epoch <= self.epoch
    }

    /// A client that knows `epoch`, or none (0), takes it under a new epoch.
    pub(crate) fn take(&mut self, epoch: u32) {
        let is_own = self.is_held_under(epoch);
        self.epoch = self.epoch.max(epoch).saturating_add(1);
        if !is_own {
            self.held_since = if epoch == 0 { self.epoch } else { epoch };
        }
    }

    /// Bytes allocated, its place in the table of names included.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>().saturating_add(self.name.len()).saturating_add(size_of::<u64>())
    }
}
