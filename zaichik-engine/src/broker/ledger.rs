//! Every byte that a broker holds, by what it is for.

/// Bytes charged, by what they are for.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
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
    /// Free places of tables, which are kept for later use.
    pub tables: u64,
    /// Connections: bytes received and not yet applied, and bytes that wait to be sent.
    pub sessions: u64,
}

impl Ledger {
    /// The sum of all parts, in bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.topics
            .saturating_add(self.retired)
            .saturating_add(self.subscriptions)
            .saturating_add(self.producers)
            .saturating_add(self.tables)
            .saturating_add(self.sessions)
    }
}
