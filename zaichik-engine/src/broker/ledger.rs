//! Every byte that a broker holds, by what it is for.

/// Bytes charged. Each part says what it holds; the ledger only adds up.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Timestamp, Seed};
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let empty = broker.ledger().total();
/// let session = broker.accept(Timestamp::from_micros(1), &mut Effects::new());
/// assert!(broker.ledger().sessions > 0 && broker.ledger().total() > empty);
/// # drop(session);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Records, keys, cursors and names of topics.
    pub topics: u64,
    /// Allocations that no topic needs any more but some connection still sends from.
    pub retired: u64,
    /// Subscriptions and their windows.
    pub subscriptions: u64,
    /// Producers and the answers remembered for them.
    pub producers: u64,
    /// Connections: what was received and not applied, and what waits to be sent.
    pub sessions: u64,
}

impl Ledger {
    /// All of it, in bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.topics
            .saturating_add(self.retired)
            .saturating_add(self.subscriptions)
            .saturating_add(self.producers)
            .saturating_add(self.sessions)
    }
}

/// Replaces what a part was charged with before.
pub(super) fn recharge(account: &mut u64, charged: &mut usize, now: usize) {
    *account = account.saturating_sub(*charged as u64).saturating_add(now as u64);
    *charged = now;
}
