//! The counters of a broker.

use alloc::vec::Vec;

use crate::code::wire_codes;
use crate::list::Entry;
use crate::read::Reader;
use crate::refusal::RefusalCode;

/// A counter and its value (docs/protocol.md §7.16).
///
/// ```
/// use zaichik_proto::{Counter, CounterValue};
/// let busy = CounterValue { counter: Counter::from_code(4_096 + 9), value: 2 };
/// assert_eq!(busy.counter.refusal_code(), Some(zaichik_proto::RefusalCode::Busy));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterValue {
    /// The counter.
    pub counter: Counter,
    /// The counter's value.
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
    /// A counter of a broker (docs/protocol.md §7.16).
    ///
    /// ```
    /// use zaichik_proto::Counter;
    /// assert_eq!(Counter::RecordsIn.name(), "records_in");
    /// assert_eq!(Counter::from_code(7), Counter::RecordsIn);
    /// ```
    pub enum Counter {
        /// Microseconds since the broker was created.
        Uptime = 1,
        /// Current connections.
        Connections = 2,
        /// Connections accepted so far, excluding those refused at the limit.
        ConnectionsAccepted = 3,
        /// Topics.
        Topics = 4,
        /// Subscriptions, including detached ones.
        Subscriptions = 5,
        /// Durable subscriptions.
        DurableSubscriptions = 6,
        /// Records accepted.
        RecordsIn = 7,
        /// Bytes of the accepted records.
        BytesIn = 8,
        /// Records queued for sending to a connection.
        RecordsOut = 9,
        /// Bytes of the records queued for sending.
        BytesOut = 10,
        /// Records not appended because their key was remembered.
        Duplicates = 11,
        /// Retries of producers that were answered from memory.
        Repeated = 12,
        /// Gaps queued for sending to a connection.
        Gaps = 13,
        /// Offsets that subscriptions skipped because a newer record has the same key.
        Superseded = 14,
        /// Moves of a subscription's position.
        Rewinds = 15,
        /// Records copied to a dead-letter topic.
        DeadLetters = 16,
        /// Records that a dead-letter topic refused.
        DeadLettersRefused = 17,
        /// Durable subscriptions that a connection took over from another.
        Takeovers = 18,
        /// Refused requests, with any code.
        Refused = 19,
        /// Calls whose time was before that of an earlier call.
        ClockStepsBack = 20,
        /// Bytes of memory used by topics.
        MemoryTopics = 32,
        /// Bytes that topics have released and connections are still sending.
        MemoryRetired = 33,
        /// Bytes of memory used by subscriptions and their windows.
        MemorySubscriptions = 34,
        /// Bytes of memory used by producers and their remembered answers.
        MemoryProducers = 35,
        /// Bytes of memory used by connections and their buffers.
        MemorySessions = 36,
        /// Maximum bytes of memory for all of these.
        MemoryBudget = 37,
        /// Rows that changed and are in no commit yet; reported only with a store.
        StorageChangedRows = 48,
        /// Times that a connection's socket accepted no output.
        WriteStalls = 64,
        /// Processor time used by the broker's process, in microseconds.
        ProcessCpu = 65,
        /// Memory used by the broker's process, in bytes.
        ProcessMemory = 66,
        /// Peak memory used by the broker's process, in bytes.
        ProcessMemoryPeak = 67,
        /// Commits that the store has made.
        StorageCommits = 68,
        /// Rows that these commits put or removed.
        StorageRowsCommitted = 69,
        /// Bytes that these commits wrote.
        StorageBytesWritten = 70,
        /// Times that a commit found no space, and was repeated.
        StorageNoSpace = 71,
        /// 1 while the store has no space for more than its reserve, otherwise 0.
        StorageFull = 72,
        /// Microseconds that the last commit took.
        StorageLastCommit = 73,
        /// When the store last refused something: microseconds since the Unix epoch.
        StorageLastErrorTime = 74,
        /// Segments of the store.
        StorageSegments = 75,
        /// Bytes of these segments.
        StorageBytes = 76,
        /// Bytes in them that are still needed.
        StorageLiveBytes = 77,
    }
}

/// The first of the counters that count refusals with one code.
const FIRST_REFUSAL: u16 = 0x1000;

impl Counter {
    /// The counter's name, as metrics and tools show it; `refused_with` for a counter of refusals with one code, and
    /// `unknown` for a counter that this version does not know.
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
            Self::StorageChangedRows => "storage_changed_rows",
            Self::WriteStalls => "write_stalls",
            Self::ProcessCpu => "process_cpu",
            Self::ProcessMemory => "process_memory",
            Self::ProcessMemoryPeak => "process_memory_peak",
            Self::StorageCommits => "storage_commits",
            Self::StorageRowsCommitted => "storage_rows_committed",
            Self::StorageBytesWritten => "storage_bytes_written",
            Self::StorageNoSpace => "storage_no_space",
            Self::StorageFull => "storage_full",
            Self::StorageLastCommit => "storage_last_commit",
            Self::StorageLastErrorTime => "storage_last_error_time",
            Self::StorageSegments => "storage_segments",
            Self::StorageBytes => "storage_bytes",
            Self::StorageLiveBytes => "storage_live_bytes",
            Self::Unknown(code) if code >= FIRST_REFUSAL => "refused_with",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The counter of refusals with a code.
    #[must_use]
    pub const fn refusals(code: RefusalCode) -> Self {
        Self::Unknown(FIRST_REFUSAL.saturating_add(code.code()))
    }

    /// The code whose refusals the counter counts, if it counts refusals with one code.
    #[must_use]
    pub const fn refusal_code(self) -> Option<RefusalCode> {
        match self.code().checked_sub(FIRST_REFUSAL) {
            Some(code) => Some(RefusalCode::from_code(code)),
            None => None,
        }
    }
}
