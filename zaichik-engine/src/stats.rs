//! Counters of a broker.

/// Counters since the broker was created; they never fall.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let session = broker.accept(Timestamp::from_micros(1), &mut Effects::new());
/// assert_eq!(broker.stats().connections, 1);
/// # drop(session);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted, without those refused for the limit.
    pub connections: u64,
    /// Records appended, or only given an offset because they can never be read.
    pub records_accepted: u64,
    /// Bytes of the records of accepted publishes, duplicates included.
    pub bytes_accepted: u64,
    /// Records that were duplicates.
    pub duplicates: u64,
    /// Retries of producers answered from memory.
    pub repeated: u64,
    /// Records put into the output of a connection.
    pub records_delivered: u64,
    /// Bytes of these records.
    pub bytes_delivered: u64,
    /// Gaps put into the output of a connection.
    pub gaps: u64,
    /// Times that a subscription's position was moved by Nack, Seek or reattaching.
    pub rewinds: u64,
    /// Records copied to a dead-letter topic.
    pub dead_letters: u64,
    /// Times that a dead-letter topic refused a record, which therefore stayed.
    pub dead_letters_refused: u64,
    /// Takeovers of durable subscriptions by another connection.
    pub takeovers: u64,
    /// Offsets that subscriptions skipped without a gap, because a newer record of the key superseded them.
    pub superseded: u64,
    /// Requests refused.
    pub refused: u64,
    /// Calls with an earlier time than a previous call, and steps back of the wall clock that the caller reported.
    pub clock_steps_back: u64,
}
