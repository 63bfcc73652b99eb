//! Names for the things that a broker holds.

use core::fmt;

/// A connection, for as long as its broker lives; never used for another one.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let (first, second) = (broker.accept(now, &mut effects), broker.accept(now, &mut effects));
/// assert!(first.id() < second.id());
/// assert_ne!(first.id().slot(), second.id().slot(), "good for a table of what belongs to each");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    serial: u64,
    pub(crate) slot: u32,
}

impl SessionId {
    pub(crate) const fn new(serial: u64, slot: u32) -> Self {
        Self { serial, slot }
    }

    /// A small number that no other connection has which the broker serves; used again when this one is over. One
    /// that was refused, or is over and still writes, may share it with a newer one.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.serial)
    }
}

/// A topic's place in its broker; topics are never deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicId(pub(crate) u32);

impl TopicId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A subscription's place in its broker; reused after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubKey(pub(crate) u32);

impl SubKey {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}
