//! The state of a subscription that outlives its connection (rules D1 to D5).

use zaichik_proto::{Refusal, RefusalCode, Timestamp};

/// The highest epoch that a client may name above the newest one, so that nobody can use up the epochs of a name.
const MAX_NAMED: u32 = 1 << 31;

/// Whether a client that knows epoch `named`, or none (0), may attach to a subscription whose newest one is `newest`: there
/// must be a higher one (rule D3).
pub(crate) fn check_epoch(newest: u32, named: u32) -> Result<(), Refusal> {
    if named > newest.max(MAX_NAMED) || newest.max(named) == u32::MAX {
        return Err(Refusal::with_value(RefusalCode::EpochTooLarge, u64::from(newest)));
    }
    Ok(())
}

/// The durable part of a subscription.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Unique within its topic.
    pub(crate) name: Box<str>,
    /// Rises with each attach.
    pub(crate) epoch: u32,
    /// The epoch under which the current client first attached: this and all later epochs are its own.
    held_since: u32,
    /// How long it is kept while detached, in microseconds.
    pub(crate) inactive_micros: u64,
    /// When it ends if it stays detached; [`Timestamp::MAX`] while it is attached.
    pub(crate) expires_at: Timestamp,
    /// The deadline that is queued for it.
    pub(crate) due: Timestamp,
    /// Whether it is listed as changed since it was staged for a store.
    pub(crate) is_changed: bool,
}

impl Durable {
    /// One that no session has attached to yet.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: Box::from(name),
            epoch: 0,
            held_since: 0,
            is_changed: false,
            inactive_micros: 0,
            expires_at: Timestamp::MAX,
            due: Timestamp::MAX,
        }
    }

    /// The epoch under which the current client first attached.
    pub(crate) const fn held_since(&self) -> u32 {
        self.held_since
    }

    /// Takes the epochs that it had before a restart.
    pub(crate) const fn restore(&mut self, epoch: u32, held_since: u32) {
        (self.epoch, self.held_since) = (epoch, held_since);
    }

    /// Whether a client that knows this epoch holds the subscription, or was the last to hold it.
    ///
    /// Older epochs of the same client count as well: the Subscribed with the newest one may have been lost with a
    /// connection.
    pub(crate) const fn is_held_under(&self, epoch: u32) -> bool {
        epoch > 0 && self.held_since <= epoch && epoch <= self.epoch
    }

    /// A client that knows `epoch`, or none (0), attaches under a new epoch.
    pub(crate) fn take(&mut self, epoch: u32) {
        let is_own = self.is_held_under(epoch);
        self.epoch = self.epoch.max(epoch).saturating_add(1);
        if !is_own {
            self.held_since = if epoch == 0 { self.epoch } else { epoch };
        }
    }

    /// Bytes allocated, including its entry in the table of names.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>().saturating_add(self.name.len()).saturating_add(size_of::<u64>())
    }
}
