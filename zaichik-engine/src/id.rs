//! Identifiers of a broker's sessions, topics and subscriptions.

use core::fmt;

/// Identifies a connection for the lifetime of its broker; never reused.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let (first, second) = (broker.accept(now, &mut effects), broker.accept(now, &mut effects));
/// assert!(first.id() < second.id());
/// assert_ne!(first.id().slot(), second.id().slot(), "suitable as an index of a table of connections");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    serial: u64,
    pub(crate) slot: u32,
}

impl SessionId {
    /// No session has this id.
    pub(crate) const NONE: Self = Self { serial: u64::MAX, slot: u32::MAX };

    pub(crate) const fn new(serial: u64, slot: u32) -> Self {
        Self { serial, slot }
    }

    /// What distinguishes it from others that had its slot before.
    pub(crate) const fn serial(self) -> u64 {
        self.serial
    }

    /// A small number, unique among the connections that the broker serves and reused afterwards. A connection that was
    /// refused, or has ended but still writes, may share it with a newer one.
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

/// A topic's index in its broker; topics are never deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicId(pub(crate) u32);

/// A subscription's index in its broker; reused after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubKey(pub(crate) u32);

/// The index of a member of a shared subscription in its broker; reused after it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberKey(pub(crate) u32);

/// The index of a pattern of topics in its broker; reused after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PatternKey(pub(crate) u32);
