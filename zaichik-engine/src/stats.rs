//! What a broker has done so far.

/// Counters since the broker was made; none ever falls.
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
    /// Connections accepted, those refused for the limit not counted.
    pub connections: u64,
    /// Records appended, or given an offset because nobody would read them.
    pub records_accepted: u64,
    /// Bytes of the records of accepted publishes, duplicates included.
    pub bytes_accepted: u64,
    /// Records that were duplicates.
    pub duplicates: u64,
    /// Requests of producers that were answered from memory.
    pub repeated: u64,
    /// Records put into the output of a connection.
    pub records_delivered: u64,
    /// Bytes of these.
    pub bytes_delivered: u64,
    /// Gaps put into the output of a connection.
    pub gaps: u64,
    /// Times that a subscription's position was moved: by Nack, Seek and reattaching.
    pub rewinds: u64,
    /// Records copied to a dead-letter topic.
    pub dead_letters: u64,
    /// Times that a dead-letter topic refused one, so that the record stayed.
    pub dead_letters_refused: u64,
    /// Durable subscriptions that one connection took from another.
    pub takeovers: u64,
    /// Offsets that subscriptions passed without a word, because a newer record of their key was there.
    pub superseded: u64,
    /// Requests refused.
    pub refused: u64,
    /// Calls with a time before one that was told earlier.
    pub clock_steps_back: u64,
}
