//! What a broker counts.

use alloc::vec::Vec;

use crate::code::wire_codes;
use crate::list::Entry;
use crate::read::Reader;
use crate::refusal::RefusalCode;

/// What a broker counted, and how much of it (docs/protocol.md §7.16).
///
/// ```
/// use zaichik_proto::{Counter, CounterValue};
/// let busy = CounterValue { counter: Counter::from_code(4_096 + 9), value: 2 };
/// assert_eq!(busy.counter.refusal_code(), Some(zaichik_proto::RefusalCode::Busy));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterValue {
    /// What.
    pub counter: Counter,
    /// How much.
    pub value: u64,
}

impl Entry for CounterValue {
    const SIZE: usize = 10;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counter.code().to_le_bytes());
        out.extend_from_slice(&self.value.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { counter: Counter::from_code(reader.u16().ok()?), value: reader.u64().ok()? })
    }
}

wire_codes! {
    /// Something that a broker counts (docs/protocol.md §7.16).
    ///
    /// ```
    /// use zaichik_proto::Counter;
    /// assert_eq!(Counter::RecordsIn.name(), "records_in");
    /// assert_eq!(Counter::from_code(7), Counter::RecordsIn);
    /// ```
    pub enum Counter {
        /// Microseconds since the broker was made.
        Uptime = 1,
        /// Connections that there are.
        Connections = 2,
        /// Connections that there ever were, those refused for the limit not counted.
        ConnectionsAccepted = 3,
        /// Topics.
        Topics = 4,
        /// Subscriptions, detached ones included.
        Subscriptions = 5,
        /// Durable ones among them.
        DurableSubscriptions = 6,
        /// Records accepted.
        RecordsIn = 7,
        /// Bytes of these.
        BytesIn = 8,
        /// Records put into the output of a connection.
        RecordsOut = 9,
        /// Bytes of these.
        BytesOut = 10,
        /// Records that were duplicates by their key.
        Duplicates = 11,
        /// Requests of producers that were answered from memory.
        Repeated = 12,
        /// Gaps put into the output of a connection.
        Gaps = 13,
        /// Offsets that subscriptions passed because a newer record of their key was there.
        Superseded = 14,
        /// Times that a subscription's position was moved.
        Rewinds = 15,
        /// Records copied to a dead-letter topic.
        DeadLetters = 16,
        /// Times that a dead-letter topic did not take one.
        DeadLettersRefused = 17,
        /// Durable subscriptions that one connection took from another.
        Takeovers = 18,
        /// Requests refused, whatever for.
        Refused = 19,
        /// Calls with a time before one that was told earlier.
        ClockStepsBack = 20,
        /// Bytes of memory held for topics.
        MemoryTopics = 32,
        /// Bytes that no topic needs any more and some connection still sends from.
        MemoryRetired = 33,
        /// Bytes of subscriptions and their windows.
        MemorySubscriptions = 34,
        /// Bytes of producers and the answers remembered for them.
        MemoryProducers = 35,
        /// Bytes of connections and their buffers.
        MemorySessions = 36,
        /// Bytes of all of this that the broker may hold.
        MemoryBudget = 37,
        /// Times that a connection's socket took nothing of what waited for it.
        WriteStalls = 64,
        /// Microseconds of processor time that the broker's process used.
        ProcessCpu = 65,
        /// Bytes of memory that it has.
        ProcessMemory = 66,
        /// Most bytes that it ever had.
        ProcessMemoryPeak = 67,
    }
}

/// From here on a counter counts the refusals with one code.
const FIRST_REFUSAL: u16 = 0x1000;

impl Counter {
    /// Its name, as metrics and tools show it; `unknown` for one that this version does not know, and `refused_with`
    /// for one that counts the refusals with one code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uptime => "uptime",
            Self::Connections => "connections",
            Self::ConnectionsAccepted => "connections_accepted",
            Self::Topics => "topics",
            Self::Subscriptions => "subscriptions",
            Self::DurableSubscriptions => "durable_subscriptions",
            Self::RecordsIn => "records_in",
            Self::BytesIn => "bytes_in",
            Self::RecordsOut => "records_out",
            Self::BytesOut => "bytes_out",
            Self::Duplicates => "duplicates",
            Self::Repeated => "repeated",
            Self::Gaps => "gaps",
            Self::Superseded => "superseded",
            Self::Rewinds => "rewinds",
            Self::DeadLetters => "dead_letters",
            Self::DeadLettersRefused => "dead_letters_refused",
            Self::Takeovers => "takeovers",
            Self::Refused => "refused",
            Self::ClockStepsBack => "clock_steps_back",
            Self::MemoryTopics => "memory_topics",
            Self::MemoryRetired => "memory_retired",
            Self::MemorySubscriptions => "memory_subscriptions",
            Self::MemoryProducers => "memory_producers",
            Self::MemorySessions => "memory_sessions",
            Self::MemoryBudget => "memory_budget",
            Self::WriteStalls => "write_stalls",
            Self::ProcessCpu => "process_cpu",
            Self::ProcessMemory => "process_memory",
            Self::ProcessMemoryPeak => "process_memory_peak",
            Self::Unknown(code) if code >= FIRST_REFUSAL => "refused_with",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The counter of refusals with that code.
    #[must_use]
    pub const fn refusals(code: RefusalCode) -> Self {
        Self::Unknown(FIRST_REFUSAL.saturating_add(code.code()))
    }

    /// Of which code it counts the refusals, if it does.
    #[must_use]
    pub const fn refusal_code(self) -> Option<RefusalCode> {
        match self.code().checked_sub(FIRST_REFUSAL) {
            Some(code) => Some(RefusalCode::from_code(code)),
            None => None,
        }
    }
}
